// The files of a result, to open or to keep.

import type { Job, StoredFile } from "./api";
import * as api from "./api";
import { h } from "./dom";
import type { Frame } from "./frame";
import { panel } from "./panels";
import { bytes, capital } from "./words";

const ABOUT: Record<string, string> = {
  "report.pdf": "Report, PDF",
  "report.html": "Report, web page",
  "result.json": "All numbers, JSON",
  "montage.png": "Slices with outline and map, PNG",
  "discharge.png": "Curve of discharge, PNG",
  "lungs.nii.gz": "Lung mask, NIfTI",
  "heatmap.nii.gz": "Heat map, NIfTI",
  "ct.nii.gz": "CT as shown, NIfTI",
  "dicom/lungs.seg.dcm": "Lung mask, DICOM SEG",
  "dicom/heatmap.pm.dcm": "Heat map, DICOM parametric map",
  "dicom/report.sr.dcm": "Measurements, DICOM SR",
  "dicom/montage.sc.dcm": "Slices, DICOM secondary capture",
  "dicom/report.pdf.dcm": "Report, DICOM encapsulated PDF",
};
const OPENED = ["report.pdf", "report.html"]; // that a browser shows well

/** Name a file is kept under: it says which scan, and names nobody. */
const keptAs = (job: Job, name: string): string => `covid19net-${job.id.slice(0, 8)}-${name.split("/").at(-1)}`;

async function keep(job: Job, name: string, frame: Frame, signal: AbortSignal): Promise<void> {
  try {
    const address = URL.createObjectURL(await api.file(job.id, name, signal));
    h("a", { href: address, download: keptAs(job, name) }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    if (!signal.aborted) frame.say(`${name}: ${error instanceof Error ? error.message : "could not be fetched"}.`);
  }
}

/**
 * A link to a file. With a token the file is fetched, as a link cannot carry one, and kept rather than opened: a page
 * opened from memory would be under this page's policy, which lets no report show its own styles.
 */
function link(job: Job, name: string, words: string, frame: Frame, signal: AbortSignal, kind = ""): HTMLElement {
  if (api.token() === null) {
    const opened = OPENED.includes(name);
    return h(
      "a",
      { class: kind, href: api.fileAddress(job.id, name), ...(opened ? { target: "_blank", rel: "noopener" } : { download: keptAs(job, name) }) },
      words,
    );
  }
  return h("button", { type: "button", class: kind || "link", click: () => void keep(job, name, frame, signal) }, words);
}

/** The report, for the head of a case. */
export function reportLinks(job: Job, files: readonly StoredFile[], frame: Frame, signal: AbortSignal): HTMLElement[] {
  const words: Record<string, string> = { "report.pdf": "Report (PDF)", "report.html": "Report (HTML)" };
  return OPENED.filter((name) => files.some((file) => file.name === name)).map((name) =>
    link(job, name, words[name] ?? name, frame, signal, "button"),
  );
}

export function filesPanel(job: Job, files: readonly StoredFile[], frame: Frame, signal: AbortSignal): HTMLElement {
  const order = Object.keys(ABOUT);
  const rank = (name: string): number => (order.includes(name) ? order.indexOf(name) : order.length);
  const listed = [...files].sort((a, b) => rank(a.name) - rank(b.name));
  const row = (file: StoredFile): HTMLElement =>
    h("li", {}, link(job, file.name, ABOUT[file.name] ?? file.name, frame, signal), h("span", { class: "soft" }, bytes(file.bytes)));
  const sends = (job.sends ?? []).map((send) => h("li", {}, sentWords(send)));
  return panel(
    "files",
    "Files",
    false,
    files.length ? h("ul", { class: "files" }, ...listed.map(row)) : h("p", {}, "The files of this result have expired."),
    sends.length > 0 && h("h3", {}, "Sent on"),
    sends.length > 0 && h("ul", { class: "files" }, ...sends),
  );
}

/** What is known of one sending, whatever fields the service tells. */
function sentWords(send: Record<string, unknown>): string {
  const told = (...names: string[]): string => {
    const found = names.map((name) => send[name]).find((value) => typeof value === "string" && value !== "");
    return typeof found === "string" ? found : "";
  };
  const what = told("object", "file", "name");
  const where = told("destination", "to");
  const why = told("fault", "reason");
  return capital([what, where && `to ${where}:`, told("state", "status"), why && `(${why})`].filter(Boolean).join(" "));
}
