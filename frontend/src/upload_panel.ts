// Where scans are dropped, and how far each is on its way.

import type { Job, Service } from "./api";
import * as api from "./api";
import { h, show } from "./dom";
import { type Parcel, parcelsDropped, parcelsOf, parcelsOfFolder, send } from "./upload";
import { bytes, capital } from "./words";

const LONGEST_LABEL = 64;
const WHY: Record<number, string> = {
  413: "It is larger than this service takes.",
  415: "This kind of file is not taken.",
  422: "It cannot be read as a scan.",
  429: "The queue is full.",
  507: "The service\u2019s disk is full; tell whoever runs it.",
};

export interface UploadPanel {
  element: HTMLElement;
  choose(): void;
  /** Takes drops from now on, and says what arrives, until the signal. */
  open(arrived: (job: Job | null) => void, signal: AbortSignal): void;
}

let only: UploadPanel | null = null;
let sending = 0; // uploads on their way

addEventListener("beforeunload", (event) => sending > 0 && event.preventDefault());

/** The panel: one for as long as the page is open, so that uploads go on while a case is looked at. */
export function uploadPanel(service: Service): UploadPanel {
  only ??= made(service);
  return only;
}

function limitOf(service: Service, name: "megabytes" | "files"): number {
  return service.limits?.[name] ?? Number.POSITIVE_INFINITY;
}

/** A question that may stay open. */
function answers(id: string, choices: Record<string, string>): HTMLSelectElement {
  const options = Object.entries({ "": "not given", ...choices }).map(([value, text]) => h("option", { value }, text));
  return h("select", { id, autocomplete: "off" }, ...options);
}

function made(service: Service): UploadPanel {
  let arrived: (job: Job | null) => void = () => undefined;
  const lines = h("ul", { class: "uploads", "aria-label": "Uploads" });
  const label = h("input", { id: "label", type: "text", maxlength: String(LONGEST_LABEL), autocomplete: "off" });
  const age = h("input", { id: "age", type: "number", min: "0", max: "120", step: "any", autocomplete: "off" });
  const sex = answers("sex", { F: "female", M: "male" });
  const comorbidity = answers("comorbidity", { no: "none", yes: "any" });
  const patient = [age, sex, comorbidity];
  const folder = h("input", { type: "file", webkitdirectory: true, multiple: true, class: "unseen", tabindex: "-1", "aria-label": "Folder" });
  const files = h("input", { type: "file", multiple: true, class: "unseen", tabindex: "-1", "aria-label": "Zip or files" });
  const largest = limitOf(service, "megabytes") * 1e6;
  const most = limitOf(service, "files");

  const take = (parcels: readonly Parcel[]): void => {
    const told: Record<string, string> = { label: label.value.trim() };
    for (const field of patient) told[field.id] = field.value.trim();
    const refused = parcels.length > 1 && patient.some((field) => field.value) ? "Age, sex and comorbidity are one patient's: send one scan with them." : age.validationMessage;
    if (refused) {
      lines.prepend(h("li", {}, h("span", { class: "fault", role: "alert" }, refused)));
      return;
    }
    for (const field of [label, ...patient]) field.value = ""; // never left for the next patient
    if (!parcels.length) lines.prepend(h("li", {}, h("span", { class: "fault", role: "alert" }, "Nothing to send: no files were found in what was dropped.")));
    for (const parcel of parcels) {
      const line = new Line(parcel, told, (job) => arrived(job));
      lines.prepend(line.element);
      if (parcel.bytes > largest) line.refuse(`It has ${bytes(parcel.bytes)}; this service takes ${bytes(largest)} at once.`);
      else if (parcel.files.length > most) line.refuse(`It has ${parcel.files.length} files; this service takes ${most} at once.`);
      else void line.go();
    }
  };
  folder.addEventListener("change", () => {
    take(parcelsOfFolder([...(folder.files ?? [])]));
    folder.value = "";
  });
  files.addEventListener("change", () => {
    take(parcelsOf([...(files.files ?? [])]));
    files.value = "";
  });
  const element = h(
    "section",
    { class: "card drop", "aria-labelledby": "drop-title" },
    h(
      "div",
      { class: "invite" },
      h("h2", { id: "drop-title" }, "Analyse a scan"),
      h("p", { class: "soft" }, "Drop a DICOM folder, a zip or a NIfTI file anywhere on this page, or"),
      h("button", { type: "button", class: "primary", click: () => folder.click() }, "Choose folder"),
      h("button", { type: "button", click: () => files.click() }, "Choose zip or files"),
      h("span", { class: "labelled" }, h("label", { for: "label" }, "Label"), label, h("span", { class: "soft" }, "optional; no patient names")),
      folder,
      files,
    ),
    h(
      "div",
      { class: "invite patient", role: "group", "aria-label": "For the prognosis" },
      h("span", { class: "soft" }, "For the prognosis, optional:"),
      h("label", { class: "unit" }, "Age", age),
      h("label", { class: "unit" }, "Sex", sex),
      h("label", { class: "unit" }, "Comorbidity", comorbidity),
    ),
    lines,
  );
  const open = (watch: (job: Job | null) => void, signal: AbortSignal): void => {
    arrived = watch;
    signal.addEventListener("abort", () => (arrived = () => undefined));
    listenToDrops(signal, take);
  };
  return { element, choose: () => folder.click(), open };
}

/** The whole page takes drops: what misses a target would otherwise be opened by the browser. */
function listenToDrops(signal: AbortSignal, take: (parcels: readonly Parcel[]) => void): void {
  const root = document.documentElement;
  let depth = 0;
  const carries = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
  const over = (by: number): void => {
    depth = Math.max(0, depth + by);
    root.classList.toggle("dropping", depth > 0);
  };
  addEventListener("dragenter", (event) => carries(event) && over(1), { signal });
  addEventListener("dragleave", (event) => carries(event) && over(-1), { signal });
  addEventListener("dragover", (event) => carries(event) && event.preventDefault(), { signal });
  addEventListener(
    "drop",
    (event) => {
      event.preventDefault();
      over(-depth);
      if (event.dataTransfer && carries(event)) void parcelsDropped(event.dataTransfer).then(take, () => take([]));
    },
    { signal },
  );
  signal.addEventListener("abort", () => over(-depth));
}

/** One upload on the list. */
class Line {
  readonly element = h("li");
  private readonly bar = h("progress", { max: "1", value: "0", "aria-label": "Sent" });
  private readonly told = h("span", { class: "soft", role: "status" });
  private readonly buttons = h("span", { class: "actions" });
  private stop = new AbortController();

  constructor(
    private readonly parcel: Parcel,
    private readonly beside: Readonly<Record<string, string>>,
    private readonly arrived: (job: Job | null) => void,
  ) {
    const count = parcel.files.length === 1 ? "" : `${parcel.files.length} files, `;
    this.element.append(
      h("span", { class: "parcel" }, parcel.name, h("span", { class: "soft" }, ` ${count}${bytes(parcel.bytes)}`)),
      this.bar,
      this.told,
      this.buttons,
    );
  }

  async go(): Promise<void> {
    this.stop = new AbortController();
    this.bar.hidden = false;
    this.told.className = "soft";
    this.offer("Cancel", () => this.stop.abort());
    sending += 1;
    try {
      const { job, created } = await send(this.parcel, this.beside, this.stop.signal, (sent) => this.sent(sent));
      if (created) this.element.remove();
      else this.finish("This scan is in the list already.", "soft", job);
      this.arrived(job);
    } catch (error) {
      if (this.stop.signal.aborted) this.finish("Cancelled.", "soft");
      else this.failed(error);
    } finally {
      sending -= 1;
    }
  }

  private sent(fraction: number): void {
    this.bar.value = fraction;
    this.told.textContent = fraction < 1 ? `${Math.floor(100 * fraction)}\u00a0%` : "stored when the service answers";
  }

  private failed(error: unknown): void {
    const fault = error instanceof api.ApiError ? error : new api.ApiError(0, "", "it could not be sent");
    const wait = fault.retryAfter ? ` Try again in ${fault.retryAfter}\u00a0s.` : "";
    const why = WHY[fault.status] ? `${WHY[fault.status]} ` : "";
    this.finish(`${why}${capital(fault.message)}.${wait}`.replace(/\.\.$/, "."), "fault");
    if ([0, 429, 503, 507].includes(fault.status)) this.offer("Try again", () => void this.go(), "Remove");
  }

  refuse(why: string): void {
    this.finish(why, "fault");
  }

  private finish(text: string, kind: string, job?: Job): void {
    this.bar.hidden = true;
    this.told.className = kind;
    this.told.textContent = text;
    show(this.buttons, job ? h("a", { href: `#/jobs/${job.id}` }, "Open it") : null, this.dismiss());
  }

  private dismiss(): HTMLElement {
    return h("button", { type: "button", class: "quiet", "aria-label": `Remove ${this.parcel.name} from this list`, click: () => this.element.remove() }, "Remove");
  }

  private offer(name: string, run: () => void, also?: string): void {
    show(this.buttons, h("button", { type: "button", class: "quiet", "aria-label": `${name}: ${this.parcel.name}`, click: run }, name), also ? this.dismiss() : null);
  }
}
