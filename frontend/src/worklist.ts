// The work list: every job this token may see, newest first, refreshed as long as the page is looked at.

import type { Job, Service, State } from "./api";
import * as api from "./api";
import { h, show } from "./dom";
import type { Frame } from "./frame";
import type { Leave } from "./main";
import { progressOf, stateBadge } from "./state";
import { setShortcuts } from "./shortcuts";
import { uploadPanel } from "./upload_panel";
import { duration, moment, toldApart } from "./words";

const PAGE = 100; // jobs asked for at a time
const QUICK = 1500; // milliseconds between looks while something is queued or running
const SLOW = 5000;
const STATES: readonly (State | "all")[] = ["all", "queued", "running", "done", "failed", "cancelled"];
const NAMES: Record<string, string> = { rest: "Upload", dicom: "DICOM", dicomweb: "PACS" };

export const titleOf = (job: Job): string => job.label?.trim() || `Scan ${job.id.slice(0, 8)}`;

class WorkList {
  private jobs = new Map<string, Job>();
  private next: string | null = null;
  private state: State | "all" = "all";
  private text = "";
  private timer: ReturnType<typeof setTimeout> | undefined;
  private ended = false;
  private readonly rows = new Map<string, { row: HTMLTableRowElement; told: string }>();
  private readonly body = h("tbody");
  private readonly empty = h("p", { class: "empty" });
  private readonly chips = h("div", { class: "chips", role: "group", "aria-label": "State" });
  private readonly search = h("input", { type: "search", placeholder: "Label or number", "aria-label": "Filter by label or number" });
  private readonly older = h("button", { type: "button", hidden: true }, "Show older");

  constructor(
    private readonly frame: Frame,
    private readonly service: Service,
  ) {}

  open(): Leave {
    document.title = "Work list \u2013 covid19net";
    const ends = new AbortController();
    const panel = this.may("submit") ? uploadPanel(this.service) : null;
    panel?.open((job) => this.arrived(job), ends.signal);
    this.search.addEventListener("input", () => {
      this.text = this.search.value.trim().toLowerCase();
      this.draw();
    });
    this.older.addEventListener("click", () => void this.more());
    const heads = ["State", "Scan", "Received", "Result", "Warnings", "Took", ""];
    const table = h(
      "table",
      { class: "worklist" },
      h("caption", { class: "unseen" }, "Jobs, newest first"),
      h("thead", {}, h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "Actions"))))),
      this.body,
    );
    show(
      this.frame.main,
      h("div", { class: "head" }, h("h1", {}, "Work list"), this.chips, this.search),
      panel?.element,
      h("div", { class: "card table" }, table, this.empty),
      this.older,
    );
    this.body.addEventListener("click", (event) => this.clicked(event));
    const seen = (): void => void (document.hidden || this.look());
    document.addEventListener("visibilitychange", seen);
    setShortcuts([
      { keys: ["ArrowDown", "j"], shown: "\u2193 j", does: "next scan", run: () => this.move(1) },
      { keys: ["ArrowUp", "k"], shown: "\u2191 k", does: "previous scan", run: () => this.move(-1) },
      { keys: ["Enter"], shown: "Enter", does: "open the scan", run: () => undefined },
      { keys: ["/"], shown: "/", does: "filter", run: () => this.search.focus() },
      ...(panel ? [{ keys: ["u"], shown: "u", does: "choose files to analyse", run: () => panel.choose() }] : []),
    ]);
    this.drawChips();
    void this.look();
    return () => {
      this.ended = true;
      clearTimeout(this.timer);
      ends.abort();
      document.removeEventListener("visibilitychange", seen);
    };
  }

  private may(role: string): boolean {
    const roles = this.service.roles;
    return !roles || roles.includes(role) || roles.includes("admin");
  }

  private arrived(job: Job | null): void {
    if (job) {
      this.jobs = new Map([[job.id, job], ...this.jobs]);
      this.draw();
    }
    void this.look();
  }

  /** Asks for the newest jobs; older ones that were shown stay as they were, unless they had not ended. */
  private async look(): Promise<void> {
    clearTimeout(this.timer);
    try {
      const { jobs, next } = await api.jobs(null, PAGE);
      if (this.ended) return;
      if (this.jobs.size <= PAGE) this.next = next ?? null;
      const fresh = new Map(jobs.map((job) => [job.id, job]));
      const oldest = jobs.at(-1)?.submitted ?? "";
      const kept = [...this.jobs.values()].filter((job) => !fresh.has(job.id) && next && (job.submitted ?? "") < oldest);
      this.jobs = new Map([...fresh, ...kept.map((job) => [job.id, job] as const)]);
      await this.detail();
      this.frame.reach(true);
      this.draw();
    } catch (error) {
      if (this.ended || (error instanceof api.ApiError && error.status === 401)) return;
      this.frame.reach(!(error instanceof api.ApiError && (error.status === 0 || error.status >= 500)));
    }
    const busy = [...this.jobs.values()].some(({ state }) => state === "queued" || state === "running");
    if (!this.ended && !document.hidden) this.timer = setTimeout(() => void this.look(), busy ? QUICK : SLOW);
  }

  /** Progress of what runs, where the list itself does not tell it. */
  private async detail(): Promise<void> {
    const untold = [...this.jobs.values()].filter((job) => job.state === "running" && job.progress === undefined);
    for (const { id } of untold.slice(0, 4)) {
      const told = await api.job(id).catch(() => null);
      if (told) this.jobs.set(id, told);
    }
  }

  private async more(): Promise<void> {
    if (this.next === null) return;
    const { jobs, next } = await api.jobs(this.next, PAGE);
    for (const job of jobs) this.jobs.set(job.id, job);
    this.next = next ?? null;
    this.draw();
  }

  private drawChips(): void {
    const held = document.activeElement?.getAttribute("data-state");
    const count = (state: string): number =>
      [...this.jobs.values()].filter((job) => state === "all" || job.state === state).length;
    const chips = STATES.map((state) =>
      h(
        "button",
        {
          type: "button",
          class: "chip",
          "data-state": state,
          "aria-pressed": String(this.state === state),
          click: () => {
            this.state = state;
            this.draw();
          },
        },
        state.charAt(0).toUpperCase() + state.slice(1),
        h("span", { class: "count" }, `${count(state)}${this.next && count(state) ? "+" : ""}`),
      ),
    );
    show(this.chips, ...chips);
    if (held) chips.find((chip) => chip.dataset["state"] === held)?.focus();
  }

  private draw(): void {
    this.drawChips();
    const shown = [...this.jobs.values()].filter(
      (job) =>
        (this.state === "all" || job.state === this.state) &&
        (!this.text || `${job.label ?? ""} ${job.id}`.toLowerCase().includes(this.text)),
    );
    const held = document.activeElement?.closest("tr")?.dataset["job"];
    const rows = shown.map((job) => this.rowOf(job));
    if (rows.length !== this.body.children.length || rows.some((row, i) => this.body.children[i] !== row)) {
      show(this.body, ...rows);
      if (held) this.rows.get(held)?.row.querySelector<HTMLElement>("a")?.focus();
    }
    this.empty.hidden = rows.length > 0;
    this.empty.textContent = this.jobs.size
      ? "No scan fits this filter."
      : "Nothing here yet. Drop a folder or zip of a chest CT on this page, or send one from the PACS.";
    this.older.hidden = this.next === null;
  }

  /** The row of a job: the same element as long as nothing in it changes. */
  private rowOf(job: Job): HTMLTableRowElement {
    const told = JSON.stringify(job);
    const known = this.rows.get(job.id);
    if (known?.told === told) return known.row;
    const held = known?.row.contains(document.activeElement) ?? false;
    const row = h("tr", { "data-job": job.id }, ...this.cells(job));
    if (known?.row.isConnected) known.row.replaceWith(row);
    if (held) row.querySelector<HTMLElement>("a")?.focus();
    this.rows.set(job.id, { row, told });
    return row;
  }

  private cells(job: Job): HTMLTableCellElement[] {
    const came = NAMES[job.source] ?? job.source;
    const from = [came, job.owner && job.owner !== "local" ? job.owner : null, job.label ? job.id.slice(0, 8) : null];
    const [start, end] = [job.started, job.finished].map((iso) => (iso ? Date.parse(iso) / 1000 : Number.NaN));
    const took = (end ?? Number.NaN) - (start ?? Number.NaN);
    return [
      h("td", { class: "state" }, stateBadge(job), job.state === "running" && progressOf(job)),
      h(
        "td",
        { class: "scan" },
        h("a", { href: `#/jobs/${job.id}` }, titleOf(job)),
        h("span", { class: "soft" }, from.filter(Boolean).join(" \u00b7 ")),
        job.follows ? h("span", { class: "soft" }, "again, with slices that came late") : null,
      ),
      h("td", { class: "number" }, moment(job.submitted)),
      h("td", { class: "result" }, ...outcome(job)),
      h("td", { class: "number" }, job.summary?.warnings ? String(job.summary.warnings) : ""),
      h("td", { class: "number" }, Number.isFinite(took) ? duration(took) : ""),
      h("td", { class: "actions" }, this.action(job)),
    ];
  }

  private action(job: Job): HTMLElement | null {
    const going = job.state === "queued" || job.state === "running";
    if (!going || !this.may("submit")) return null;
    const stop = async (): Promise<void> => {
      try {
        await api.cancel(job.id);
        this.frame.say(`${titleOf(job)} is being cancelled.`);
      } catch (error) {
        this.frame.say(error instanceof Error ? error.message : "It could not be cancelled.");
      }
      void this.look();
    };
    return h("button", { type: "button", class: "quiet", "aria-label": `Cancel ${titleOf(job)}`, click: () => void stop() }, "Cancel");
  }

  /** A click anywhere in a row opens it; links and buttons do what they do. */
  private clicked(event: MouseEvent): void {
    const target = event.target as Element;
    const id = target.closest("tr")?.dataset["job"];
    if (!id || target.closest("a, button") || getSelection()?.toString()) return;
    location.hash = `#/jobs/${id}`;
  }

  private move(step: number): void {
    const links = [...this.body.querySelectorAll<HTMLElement>("td.scan a")];
    const at = links.findIndex((link) => link === document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, at < 0 ? 0 : at + step))]?.focus();
  }
}

function outcome(job: Job): (Node | string)[] {
  if (job.state === "failed") return [h("span", { class: "reason" }, job.reason ?? "no reason was given")];
  if (job.state !== "done" || !job.summary) return [];
  const { score, threshold, demonstration } = job.summary;
  const [told, limit] = toldApart(score, threshold);
  const above = score > threshold;
  return [
    h("span", { class: `score ${above ? "above" : ""}` }, told),
    h("span", { class: "soft" }, `${above ? "above" : "not above"} the threshold of ${limit}`),
    demonstration ? h("span", { class: "tag" }, "Demonstration") : "",
  ];
}

export function showWorkList(frame: Frame, service: Service): Leave {
  return new WorkList(frame, service).open();
}
