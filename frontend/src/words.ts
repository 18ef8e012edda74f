// Numbers and sentences as people read them: the same roundings and words as the printed report.

import type { Finding, Result } from "./result";

export const SPACE = "\u00a0";
const MINUS = "\u2212";
export const TIMES = "\u00d7";
const MOST_DIGITS = 4; // after the point of a percentage, to tell a probability from the threshold

/** A share as a percentage; what is not quite nothing, or not quite everything, stays so. */
export function percent(share: number, digits = 0): string {
  const least = 0.5 * 10 ** -(digits + 2);
  const told = (value: number): string => `${(100 * value).toFixed(digits)}${SPACE}%`;
  if (share > 0 && share < least) return `<${SPACE}${told(2 * least)}`;
  if (share < 1 && share > 1 - least) return `>${SPACE}${told(1 - 2 * least)}`;
  return told(share);
}

/** Both as percentages, with digits until they differ where the numbers do. */
export function toldApart(probability: number, threshold: number): [string, string] {
  for (let digits = 0; ; digits++) {
    const both: [string, string] = [percent(probability, digits), percent(threshold, digits)];
    if (both[0] !== both[1] || probability === threshold || digits === MOST_DIGITS) return both;
  }
}

/** A number with a true minus sign, and none before a zero. */
export function signed(value: number, digits = 0): string {
  const text = value.toFixed(digits);
  return text.replace("-", Number(text) === 0 ? "" : MINUS);
}

/** The text with a capital letter and a full stop. */
export function sentence(text: string): string {
  const told = text.trim();
  return told.charAt(0).toUpperCase() + told.slice(1) + (/[.!?]$/.test(told) ? "" : ".");
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

export function bytes(count: number): string {
  const steps = ["B", "kB", "MB", "GB"];
  let [value, step] = [count, 0];
  while (value >= 999.5 && step < steps.length - 1) [value, step] = [value / 1000, step + 1];
  return `${value.toFixed(step > 0 && value < 9.95 ? 1 : 0)}${SPACE}${steps[step]}`;
}

/** A moment as date and time of day where the reader is; empty for none. */
export function moment(iso: string | null | undefined): string {
  const date = iso ? new Date(iso) : null;
  if (!date || Number.isNaN(date.getTime())) return "";
  const two = (part: number): string => String(part).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`;
}

export function duration(seconds: number): string {
  if (seconds < 99.5) return `${Math.max(1, Math.round(seconds))}${SPACE}s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes}${SPACE}min` : `${Math.round(minutes / 60)}${SPACE}h`;
}

const DEMONSTRATION = ["weights-demonstration", "prognosis-demonstration"];
// Findings that open the page, most urgent first: title, and what it means for who reads it.
const URGENT: Record<string, [string, string]> = {
  "out-of-distribution": [
    "This scan is unlike those the network learned from",
    "Do not rely on probability, marked areas or prognosis; read the images by themselves.",
  ],
  "orientation-unknown": [
    "Left and right are not known",
    "No side is named on this page, and pictures may show the patient mirrored.",
  ],
  "map-unreliable": ["The marked areas are not reliable", "They are struck through and not shown unless asked for."],
  coverage: [
    "The lungs are not shown completely",
    "Disease beyond the end of the scan was not seen; volumes and shares are of the part shown.",
  ],
  "missing-slices": ["Slices are missing", "What lies in the gaps was not seen."],
  "odd-slices": ["Slices may be damaged", "What they show may not be real."],
};

export interface Warned {
  kind: "demonstration" | "urgent";
  title: string;
  sentences: string[];
}

/** Findings as warnings, demonstration first and the rest by urgency, and as notes. */
export function warningsOf(findings: readonly Finding[]): { banners: Warned[]; notes: string[] } {
  const said = (code: string): string[] => findings.filter((f) => f.code === code).map((f) => sentence(f.message));
  const demonstration = DEMONSTRATION.flatMap(said);
  const banners: Warned[] = [];
  if (demonstration.length) {
    banners.push({ kind: "demonstration", title: "For demonstration only", sentences: demonstration });
  }
  for (const [code, [title, meaning]] of Object.entries(URGENT)) {
    const sentences = said(code);
    if (sentences.length) banners.push({ kind: "urgent", title, sentences: [...sentences, meaning] });
  }
  const shown = new Set([...DEMONSTRATION, ...Object.keys(URGENT)]);
  return { banners, notes: findings.filter((f) => !shown.has(f.code)).map((f) => sentence(f.message)) };
}

/** What the call means, and what it does not. */
export function meaningOf(call: string, probability: string): [string, string] {
  const first = "The laboratory test and the radiologist\u2019s own reading come first.";
  if (call === "positive") {
    return [
      `If this patient has pneumonia, the network takes it for COVID-19 rather than another pneumonia (${probability}).`,
      `It does not prove COVID-19: other pneumonia, and lungs without any, can score as high. ${first}`,
    ];
  }
  if (call === "negative") {
    return [
      "If this patient has pneumonia, the network does not take it for COVID-19 at this threshold " +
        `(${probability}).`,
      `It does not exclude COVID-19, and does not mean that the lungs are healthy. ${first}`,
    ];
  }
  return [
    "No call: the score is not above the threshold, but part of the lungs is not shown.",
    `COVID-19 is a disease of the lung bases: what was not scanned cannot be ruled out. ${first}`,
  ];
}

export const LIMITS = [
  "The network knows two answers, COVID-19 and other pneumonia. It does not recognise healthy lungs, tumours, oedema " +
    "or anything else, and gives a probability for them too.",
  "The probability is the network\u2019s own. How likely COVID-19 is in a patient depends also on how common it is among " +
    "those scanned, and on the laboratory test.",
  "Marked areas are where the network\u2019s answer came from, not where disease is; an unmarked area may be diseased.",
  "The outline of the lungs may leave out thin consolidation along the pleura and large dense masses at the mediastinum.",
  "For one series of a chest CT of an adult. Not tested in children or after removal of a lung.",
];

/** Age, sex and comorbidity as given; empty where nothing is known. */
export function peopleOf(result: Result): string {
  const given = result.clinical ?? {};
  const age = given.age ?? result.scan?.patient_age_years;
  const sex = { F: "female", M: "male" }[given.sex ?? result.scan?.patient_sex ?? ""];
  const ill = given.comorbidity == null ? null : given.comorbidity ? "with comorbidity" : "no comorbidity";
  return [age == null ? null : `${age.toFixed(0)}${SPACE}years`, sex, ill].filter(Boolean).join(", ");
}

/** Why an analysis ended without a result, by the exit code of the program. */
export function endedBecause(code: number | null | undefined): string {
  switch (code) {
    case 2:
      return "What was sent cannot be read as one CT scan.";
    case 3:
      return "This is not a chest CT, or its lungs cannot be analysed.";
    case 4:
      return "The service\u2019s network weights are missing or damaged; tell whoever runs it.";
    case 5:
      return "There was not enough memory, disk or time; tell whoever runs the service.";
    default:
      return "The analysis ended without a result.";
  }
}
