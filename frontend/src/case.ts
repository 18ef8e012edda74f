// One scan: how far it is, or its result with warnings first, pictures beside numbers.

import type { Job, Service, StoredFile } from "./api";
import * as api from "./api";
import { h, show } from "./dom";
import { filesPanel, reportLinks } from "./downloads";
import type { Frame } from "./frame";
import type { Leave } from "./main";
import { evidencePanel, lungsPanel, originPanel, pairs, panel, resultPanel, scanFacts, usePanel } from "./panels";
import { prognosisPanel } from "./prognosis";
import type { Result } from "./result";
import { setShortcuts } from "./shortcuts";
import { progressOf, stateBadge } from "./state";
import { ViewerPanel } from "./viewer_panel";
import { type Warned, endedBecause, moment, sentence, warningsOf } from "./words";
import { titleOf } from "./worklist";

const LOOK = 1500; // milliseconds between looks at a job that has not ended

class Case {
  private ended = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private pictures: ViewerPanel | null = null;
  private readonly ends = new AbortController();

  constructor(
    private readonly frame: Frame,
    private readonly service: Service,
    private readonly id: string,
  ) {}

  open(): Leave {
    document.title = "Scan \u2013 covid19net";
    this.keys();
    void this.look();
    return () => {
      this.ended = true;
      clearTimeout(this.timer);
      this.ends.abort();
      this.pictures?.close();
      this.frame.main.classList.remove("wide");
    };
  }

  private keys(): void {
    const back = { keys: ["Escape"], shown: "Esc", does: "back to the work list", run: () => void (location.hash = "#/") };
    setShortcuts([...(this.pictures?.shortcuts() ?? []), back]);
  }

  private async look(): Promise<void> {
    try {
      const job = await api.job(this.id);
      if (this.ended) return;
      this.frame.reach(true);
      document.title = `${titleOf(job)} \u2013 covid19net`;
      if (job.state === "done") {
        await this.result(job);
        return;
      }
      show(this.frame.main, this.head(job, []), this.waiting(job));
      if (job.state === "failed" || job.state === "cancelled") return;
    } catch (error) {
      if (this.ended || !this.fault(error)) return;
    }
    this.timer = setTimeout(() => void this.look(), LOOK);
  }

  /** Shows a fault; tells whether it may pass. */
  private fault(error: unknown): boolean {
    if (error instanceof api.ApiError && error.status === 401) return false;
    if (error instanceof api.ApiError && (error.status === 0 || error.status >= 500)) {
      this.frame.reach(false);
      return true;
    }
    const gone = error instanceof api.ApiError && (error.status === 404 || error.status === 403);
    const why = gone ? "There is no such scan, or this token may not see it." : "The result cannot be shown.";
    const more = error instanceof Error && !gone ? h("p", { class: "soft" }, error.message) : null;
    show(this.frame.main, h("section", { class: "card lonely" }, h("h1", {}, why), more, h("a", { href: "#/" }, "Work list")));
    return false;
  }

  private head(job: Job, links: readonly HTMLElement[]): HTMLElement {
    const facts = [
      `received ${moment(job.submitted)}`,
      job.finished ? `analysed ${moment(job.finished)}` : "",
      `number ${job.id.slice(0, 8)}`,
    ];
    return h(
      "div",
      { class: "head" },
      h("a", { class: "back", href: "#/", "aria-label": "Back to the work list" }, "\u2190 Work list"),
      h("h1", {}, titleOf(job)),
      stateBadge(job),
      h("span", { class: "soft" }, facts.filter(Boolean).join(" \u00b7 ")),
      h("span", { class: "links" }, ...links, this.remover(job)),
    );
  }

  private remover(job: Job): HTMLElement | null {
    const roles = this.service.roles;
    const going = job.state === "queued" || job.state === "running";
    if (roles && !roles.includes("admin") && !(going && roles.includes("submit"))) return null;
    const words = going ? "Cancel" : "Delete";
    const run = async (): Promise<void> => {
      if (!going && !confirm("Delete this scan and its result from the service? This cannot be undone.")) return;
      try {
        await (going ? api.cancel(job.id) : api.remove(job.id));
        if (!going) location.hash = "#/";
      } catch (error) {
        this.frame.say(error instanceof Error ? sentence(error.message) : "That did not work.");
      }
    };
    return h("button", { type: "button", class: "quiet", click: () => void run() }, words);
  }

  private waiting(job: Job): HTMLElement {
    const parts: (Node | string)[] = [stateBadge(job)];
    if (job.state === "running") parts.push(progressOf(job));
    if (job.state === "queued") parts.push(h("p", {}, "The result appears here when it is done."));
    if (job.state === "cancelled") parts.push(h("p", {}, "This analysis was cancelled. Send the scan again to run it."));
    if (job.state === "failed") {
      parts.push(h("p", { class: "fault" }, sentence(job.reason ?? "no reason was given")), h("p", {}, endedBecause(job.exit_code)));
    }
    return h("section", { class: "card lonely", "aria-live": "polite" }, ...parts, ...linked(job));
  }

  private async result(job: Job): Promise<void> {
    const [result, files] = await Promise.all([
      api.result(job.id) as unknown as Promise<Result>,
      api.files(job.id).catch((): StoredFile[] => []),
    ]);
    if (this.ended) return;
    const { signal } = this.ends;
    const { banners, notes } = warningsOf(result.findings);
    this.pictures = new ViewerPanel(job, files, result);
    this.frame.main.classList.add("wide");
    const aside = h(
      "aside",
      { class: "panels", "aria-label": "Result", tabindex: "0", role: "region" },
      notes.length > 0 && panel("notes", `Notes (${notes.length})`, true, h("ul", {}, ...notes.map((note) => h("li", {}, note)))),
      resultPanel(result),
      evidencePanel(result),
      lungsPanel(result),
      prognosisPanel(result),
      panel("scan", "Scan", false, pairs(scanFacts(result))),
      filesPanel(job, files, this.frame, signal),
      originPanel(result),
      usePanel(result),
    );
    show(
      this.frame.main,
      this.head(job, reportLinks(job, files, this.frame, signal)),
      h("div", { class: "banners", role: "region", "aria-label": "Warnings" }, ...linked(job), ...banners.map(banner)),
      h("div", { class: "split" }, this.pictures.element, aside),
    );
    this.keys();
    await this.pictures.open();
  }
}

function banner({ kind, title, sentences }: Warned): HTMLElement {
  return h("div", { class: `banner ${kind}` }, h("strong", {}, title), h("span", {}, sentences.join(" ")));
}

/** Runs on earlier or later states of the same series. */
function linked(job: Job): HTMLElement[] {
  const link = (id: string, words: string): HTMLElement => h("a", { href: `#/jobs/${id}` }, words);
  const found: HTMLElement[] = [];
  if (job.followed_by) {
    const said = "Slices of this series came later; what is shown here is without them. ";
    found.push(h("div", { class: "banner urgent" }, h("strong", {}, "There is a newer result"), h("span", {}, said, link(job.followed_by, "Open it"))));
  }
  if (job.follows) {
    found.push(h("div", { class: "banner" }, h("span", {}, "With slices that came late; ", link(job.follows, "the earlier run"), ".")));
  }
  return found;
}

export function showCase(frame: Frame, service: Service, id: string): Leave {
  return new Case(frame, service, id).open();
}
