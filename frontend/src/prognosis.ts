// The prognosis: group, expected stay, and the curve of discharge drawn from the numbers of the result.

import { h, svg } from "./dom";
import { demonstrationTag, pairs, panel } from "./panels";
import type { Curve, Prognosis, Result } from "./result";
import { SPACE, percent, sentence, signed } from "./words";

const DOUBTS = ["prognosis-not-covid", "prognosis-range"];
const FEWEST_DAYS = 5; // in hospital of those the model was made from
const WIDTH = 460;
const HEIGHT = 236;
const BOX = { left: 46, right: 10, top: 26, bottom: 40 };

export function prognosisPanel(result: Result): HTMLElement {
  const found = result.prognosis;
  if (!found) {
    const missing = result.prognosis_missing ?? [];
    const why = missing.length ? `it needs ${missing.join(", ")}` : "the analysis was run without a prognostic model";
    return panel("prognosis", "Prognosis", true, h("p", {}, `No prognosis: ${why}.`));
  }
  const doubts = result.findings.filter(({ code }) => DOUBTS.includes(code));
  const dashed = found.curve.with_competing ? " Dashed: the same, where a patient who dies is never discharged." : "";
  const meaning = found.meaning.replace(/ with_competing:.*$/, "");
  return panel(
    "prognosis",
    "Prognosis",
    true,
    h("p", { class: "call" }, `${found.group === "high" ? "High" : "Low"} risk of a long stay`),
    found.model.demonstration && demonstrationTag(),
    pairs(stay(found)),
    ...doubts.map(({ message }) => h("p", { class: "fault" }, sentence(message))),
    curvePicture(found),
    h("details", { class: "more" }, h("summary", {}, "What the curve says"), h("p", {}, meaning + dashed)),
  );
}

function stay({ expected_stay: expected, curve, risk, cut, group }: Prognosis): [string, string][] {
  const horizon = `${expected.horizon.toFixed(0)}${SPACE}days`;
  const [early, late] = expected.median_days_interval;
  const to = late === null ? ` to beyond ${expected.horizon.toFixed(0)}` : `\u2013${late.toFixed(0)}`;
  const median =
    expected.median_days === null
      ? `beyond the ${horizon} of follow-up`
      : `${expected.median_days.toFixed(0)}${SPACE}days (${percent(curve.level)} interval ${early === null ? "?" : early.toFixed(0)}${to})`;
  const side = group === "high" ? "at or above" : "below";
  return [
    ["Median expected stay", median],
    [`Mean stay within ${horizon}`, `${expected.mean_days.toFixed(0)}${SPACE}days`],
    ["Risk", `${signed(risk, 2)}, ${side} the training median of ${signed(cut, 2)}`],
  ];
}

/** A step line through the values of the days, each holding until the next day. */
function steps(days: readonly number[], values: readonly number[], x: (day: number) => number, y: (share: number) => number): string {
  return days
    .map((day, i) => (i === 0 ? `M${x(day).toFixed(1)} ${y(values[0] ?? 0).toFixed(1)}` : `H${x(day).toFixed(1)}V${y(values[i] ?? 0).toFixed(1)}`))
    .join("");
}

/** The band between two step lines. */
function band({ day, low, high }: Curve, x: (day: number) => number, y: (share: number) => number): string {
  let back = "";
  for (let i = day.length - 1; i > 0; i--) {
    back += `V${y(low[i] ?? 0).toFixed(1)}H${x(day[i] ?? 0).toFixed(1)}`;
  }
  const last = day.length - 1;
  return `${steps(day, high, x, y)}L${x(day[last] ?? 0).toFixed(1)} ${y(low[last] ?? 0).toFixed(1)}${back}V${y(low[0] ?? 0).toFixed(1)}Z`;
}

function curvePicture({ curve, expected_stay: { median_days: median, horizon }, group }: Prognosis): SVGElement {
  const x = (day: number): number => BOX.left + (day / horizon) * (WIDTH - BOX.left - BOX.right);
  const y = (share: number): number => HEIGHT - BOX.bottom - share * (HEIGHT - BOX.top - BOX.bottom);
  const text = (at: [number, number], words: string, anchor = "middle", kind = ""): SVGElement =>
    svg("text", { x: at[0], y: at[1], "text-anchor": anchor, class: kind }, words);
  const days = Array.from({ length: Math.floor(horizon / 10) + 1 }, (_, i) => 10 * i);
  const shares = [0, 0.2, 0.4, 0.6, 0.8, 1];
  const told = [10, 20, 30].map((day) => {
    const i = curve.day.findLastIndex((known) => known <= day);
    return `${percent(curve.probability[Math.max(0, i)] ?? 0)} by day ${day}`;
  });
  const left = (median ?? 0) > horizon / 2; // the words go where the curve leaves room
  const key = (at: number, words: string, kind: string): SVGElement =>
    svg("g", {}, svg("line", { x1: at, x2: at + 22, y1: 11, y2: 11, class: kind }), text([at + 27, 15], words, "start"));
  return svg(
    "svg",
    {
      class: `curve ${group}`,
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": `Curve of the probability of discharge by day: ${told.join(", ")}.`,
    },
    ...shares.map((share) => svg("line", { x1: BOX.left, x2: WIDTH - BOX.right, y1: y(share), y2: y(share), class: "grid" })),
    ...shares.map((share) => text([BOX.left - 6, y(share) + 4], `${(100 * share).toFixed(0)}${SPACE}%`, "end")),
    ...days.map((day) => text([x(day), HEIGHT - BOX.bottom + 16], String(day))),
    text([(BOX.left + WIDTH - BOX.right) / 2, HEIGHT - 6], `days since diagnosis, in hospital for more than ${FEWEST_DAYS}`),
    svg("path", { d: band(curve, x, y), class: "band" }),
    curve.with_competing ? svg("path", { d: steps(curve.day, curve.with_competing, x, y), class: "competing" }) : null,
    svg("path", { d: steps(curve.day, curve.probability, x, y), class: "line" }),
    median === null ? null : svg("path", { d: `M${x(0)} ${y(0.5)}H${x(median)}V${y(0)}`, class: "median" }),
    median === null ? null : svg("circle", { cx: x(median), cy: y(0.5), r: 4, class: "dot" }),
    median === null
      ? null
      : text([x(median) + (left ? -9 : 10), y(0.5) + (left ? -8 : 16)], `median: day ${median.toFixed(0)}`, left ? "end" : "start", "strong"),
    key(6, "deaths as censored", "line"),
    svg("rect", { x: 150, y: 5, width: 22, height: 12, class: "band" }),
    text([177, 15], `${percent(curve.level)} interval`, "start"),
    curve.with_competing ? key(268, "death as another way out", "competing") : null,
  );
}
