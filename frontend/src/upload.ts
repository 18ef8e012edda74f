// What was dropped or chosen becomes one upload a scan; names of files stay here, but for their last part.

import type { Job } from "./api";
import * as api from "./api";

/** Files of one scan, to be sent as one job. */
export interface Parcel {
  name: string; // shown on this screen only
  files: File[];
  bytes: number;
}

// Endings that tell how a file is to be read; every other name is sent without one.
const ENDINGS = [".nii.gz", ".nii", ".nrrd", ".mha", ".zip", ".dcm"];
const WHOLE = [".zip", ".nii.gz", ".nii", ".nrrd", ".mha"]; // a file that is a scan by itself
const STALLED = 120_000; // milliseconds without an answer after the last byte went out, or without progress

const endingOf = (name: string, among: readonly string[]): string =>
  among.find((ending) => name.toLowerCase().endsWith(ending)) ?? "";

function parcel(name: string, files: File[]): Parcel {
  return { name, files, bytes: files.reduce((sum, file) => sum + file.size, 0) };
}

const hidden = (name: string): boolean => name.startsWith(".") || name === "Thumbs.db" || name === "desktop.ini";

/** Loose files: each zip or volume is a scan of its own, all others together are one. */
export function parcelsOf(files: readonly File[], name = "files"): Parcel[] {
  const kept = files.filter((file) => !hidden(file.name) && file.size > 0);
  const whole = kept.filter((file) => endingOf(file.name, WHOLE));
  const slices = kept.filter((file) => !endingOf(file.name, WHOLE));
  const parcels = whole.map((file) => parcel(file.name, [file]));
  if (slices.length) parcels.push(parcel(slices.length === 1 ? (slices[0]?.name ?? name) : name, slices));
  return parcels;
}

/** Files chosen as a folder: those of one folder are one scan. */
export function parcelsOfFolder(files: readonly File[]): Parcel[] {
  const folder = files[0]?.webkitRelativePath.split("/")[0] ?? "folder";
  return parcelsOf(files, folder);
}

function entriesIn(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const next = (): Promise<FileSystemEntry[]> => new Promise((done, failed) => reader.readEntries(done, failed));
  return (async () => {
    const all: FileSystemEntry[] = [];
    for (let some = await next(); some.length; some = await next()) all.push(...some); // a hundred at a time
    return all;
  })();
}

async function filesIn(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile) {
    return [await new Promise<File>((done, failed) => (entry as FileSystemFileEntry).file(done, failed))];
  }
  if (!entry.isDirectory) return [];
  const files: File[] = [];
  for (const inner of await entriesIn(entry as FileSystemDirectoryEntry)) files.push(...(await filesIn(inner)));
  return files;
}

/** Everything that was dropped: each folder is a scan of its own. Call it in the event itself, before any wait. */
export async function parcelsDropped(transfer: DataTransfer): Promise<Parcel[]> {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry());
  const loose = entries.some((entry) => entry === null) ? [...transfer.files] : [];
  const parcels: Parcel[] = [];
  const single: File[] = [];
  for (const entry of entries) {
    if (entry?.isDirectory) parcels.push(...parcelsOf(await filesIn(entry), entry.name));
    else if (entry) single.push(...(await filesIn(entry)));
  }
  return [...parcels, ...parcelsOf(loose.length ? loose : single)];
}

/** Sends a parcel; the answer is the job, and whether it is a new one. */
export function send(
  { files }: Parcel,
  told: Readonly<Record<string, string>>,
  signal: AbortSignal,
  progress: (fraction: number) => void,
): Promise<{ job: Job; created: boolean }> {
  const form = new FormData();
  for (const [name, value] of Object.entries(told)) if (value) form.append(name, value);
  files.forEach((file, i) => {
    form.append("files", file, String(i + 1).padStart(6, "0") + endingOf(file.name, ENDINGS));
  });
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much of a body has gone out
    request.open("POST", "/v1/jobs");
    for (const [name, value] of Object.entries(api.authorization())) request.setRequestHeader(name, value);
    let stalled = setTimeout(() => request.abort(), STALLED);
    const alive = (): void => {
      clearTimeout(stalled);
      stalled = setTimeout(() => request.abort(), STALLED);
    };
    request.upload.addEventListener("progress", (event) => {
      alive();
      progress(event.total ? event.loaded / event.total : 0);
    });
    request.addEventListener("loadend", () => {
      clearTimeout(stalled);
      let body: unknown = null;
      try {
        body = JSON.parse(request.responseText);
      } catch {
        // no answer, or one of a proxy in between
      }
      if (request.status >= 200 && request.status < 300) done(body as { job: Job; created: boolean });
      else if (signal.aborted) failed(signal.reason);
      else if (request.status === 0) failed(new api.ApiError(0, "unreachable", "the connection to the service was lost"));
      else failed(api.faultOf(request.status, body, request.getResponseHeader("Retry-After")));
    });
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
