// The state of a job in a word, with its place in the queue or how far it is.

import type { Job } from "./api";
import { h } from "./dom";

const STAGES: Record<string, string> = {
  check: "checking the scan",
  lungs: "finding the lungs",
  "lung-image": "preparing the image",
  diagnosis: "running the network",
  stability: "checking the map",
  maps: "making the map",
  reading: "reading the scan",
  writing: "writing the result",
};

const WORDS = { queued: "Queued", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled" };

export function stateBadge(job: Job): HTMLElement {
  const before = job.state === "queued" ? job.position : null;
  const place = typeof before !== "number" ? "" : before > 0 ? `, ${before} before it` : ", next";
  return h("span", { class: `badge ${job.state}` }, `${WORDS[job.state] ?? job.state}${place}`);
}

/** A bar of the progress, and what is being done. */
export function progressOf(job: Job): HTMLElement {
  const fraction = job.progress?.fraction;
  const stage = job.progress?.stage;
  const bar = h("progress", { max: "1", "aria-label": "Progress" });
  if (typeof fraction === "number") bar.value = Math.min(1, Math.max(0, fraction));
  return h("span", { class: "progress" }, bar, h("span", { class: "soft" }, stage ? (STAGES[stage] ?? stage) : "starting"));
}
