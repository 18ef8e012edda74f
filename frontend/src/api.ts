// The service's REST interface, version 1. The token travels in a header and lives as long as the browser tab.

export type State = "queued" | "running" | "done" | "failed" | "cancelled";

export interface Summary {
  score: number;
  threshold: number;
  positive?: boolean;
  demonstration?: boolean;
  warnings?: number;
  seconds?: number;
}

export interface Job {
  id: string;
  state: State;
  source: string;
  owner?: string;
  label?: string | null;
  clinical?: { age?: number; sex?: string; comorbidity?: boolean };
  submitted?: string | null;
  started?: string | null;
  finished?: string | null;
  attempts?: number;
  reason?: string | null;
  exit_code?: number | null;
  follows?: string | null;
  followed_by?: string | null;
  summary?: Summary | null;
  position?: number | null;
  progress?: { stage?: string | null; fraction?: number | null } | null;
  files?: boolean;
  sends?: Record<string, unknown>[];
}

export interface Service {
  version?: string;
  weights?: string;
  demonstration?: boolean;
  intended_use?: string;
  roles?: string[];
  limits?: { megabytes?: number; files?: number; queue?: number };
  pulls?: boolean;
}

/** A study that was asked for from the PACS. */
export interface Pull {
  id: string;
  owner: string;
  state: "waiting" | "running" | "done" | "failed";
  reason: string | null;
  jobs: string[];
  asked: string;
  ended: string | null;
}

export interface StoredFile {
  name: string;
  bytes: number;
  type: string;
}

/** An answer that says no, or none at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

const KEY = "covid19net.token";
const PATIENCE = 30_000; // milliseconds for an answer that is not a file

let onLocked: () => void = () => undefined;

/** What to do when the service asks for a token, or no longer takes the one it was given. */
export function whenLocked(action: () => void): void {
  onLocked = action;
}

export function token(): string | null {
  return sessionStorage.getItem(KEY);
}

export function keepToken(secret: string | null): void {
  if (secret === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, secret);
}

export function authorization(): Record<string, string> {
  const secret = token();
  return secret === null ? {} : { Authorization: `Bearer ${secret}` };
}

/** The fault an answer tells of, from its status and body. */
export function faultOf(status: number, body: unknown, retryAfter: string | null): ApiError {
  const error = (body as { error?: { code?: unknown; message?: unknown } } | null)?.error;
  const message = typeof error?.message === "string" ? error.message : `the service answered ${status}`;
  const seconds = retryAfter === null ? Number.NaN : Number(retryAfter);
  const code = typeof error?.code === "string" ? error.code : "";
  if (status === 401) onLocked();
  return new ApiError(status, code, message, Number.isFinite(seconds) ? seconds : null);
}

async function answerTo(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, headers: { ...authorization() }, credentials: "omit", redirect: "error" });
  } catch (error) {
    if (init.signal?.aborted && (init.signal.reason as Error)?.name !== "TimeoutError") throw error;
    throw new ApiError(0, "unreachable", "the service does not answer");
  }
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => null);
  throw faultOf(response.status, body, response.headers.get("Retry-After"));
}

async function json<T>(path: string, method = "GET"): Promise<T> {
  const response = await answerTo(path, { method, signal: AbortSignal.timeout(PATIENCE) });
  return (response.status === 204 ? null : await response.json()) as T;
}

const at = (id: string): string => `/v1/jobs/${encodeURIComponent(id)}`;

export const service = (): Promise<Service> => json("/v1/service");

export const jobs = (before: string | null, limit: number): Promise<{ jobs: Job[]; next?: string | null }> =>
  json(`/v1/jobs?limit=${limit}${before === null ? "" : `&before=${encodeURIComponent(before)}`}`);

export async function job(id: string): Promise<Job> {
  const found = await json<Job & { job?: Job }>(at(id));
  return found.job ?? found;
}

export const result = (id: string): Promise<Record<string, unknown>> => json(`${at(id)}/result`);

export async function files(id: string): Promise<StoredFile[]> {
  const found = await json<StoredFile[] | { files: StoredFile[] }>(`${at(id)}/files`);
  return Array.isArray(found) ? found : found.files;
}

export const cancel = (id: string): Promise<unknown> => json(`${at(id)}/cancel`, "POST");

export const remove = (id: string): Promise<unknown> => json(at(id), "DELETE");

export const pulls = async (): Promise<Pull[]> => (await json<{ pulls: Pull[] }>("/v1/pulls")).pulls;

/** An address that opens a file once, within a minute, without the token. */
export const ticket = async (id: string, name: string): Promise<string> =>
  (await json<{ address: string }>(fileAddress(id, name), "POST")).address;

/** Where a file of a result is served. */
export function fileAddress(id: string, name: string): string {
  return `${at(id)}/files/${name.split("/").map(encodeURIComponent).join("/")}`;
}

/** A file of a result, with its progress as bytes arrive. */
export async function file(
  id: string,
  name: string,
  signal: AbortSignal,
  progress: (bytes: number) => void = () => undefined,
): Promise<Blob> {
  const response = await answerTo(fileAddress(id, name), { signal });
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const reader = response.body?.getReader();
  for (let bytes = 0; reader; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    bytes += value.byteLength;
    progress(bytes);
  }
  return new Blob(parts, { type: response.headers.get("Content-Type") ?? "application/octet-stream" });
}
