// What stands beside the pictures: result, evidence, lungs, origin and limits, in the report's words.

import { h, svg } from "./dom";
import type { Card, MapEvidence, Region, Result } from "./result";
import { LIMITS, SPACE, TIMES, capital, meaningOf, peopleOf, percent, sentence, signed, toldApart } from "./words";

/** A part of the page that can be folded. */
export function panel(id: string, title: string, open: boolean, ...children: (Node | string | null | false)[]): HTMLElement {
  return h("details", { class: "card panel", id, open }, h("summary", {}, h("h2", {}, title)), ...children);
}

export function pairs(items: readonly (readonly [string, string | Node])[], kind = ""): HTMLElement {
  return h("dl", { class: `facts ${kind}` }, ...items.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

export const demonstrationTag = (): HTMLElement => h("p", { class: "tag" }, "Demonstration: not about a patient");

/** Probability, threshold, call, and what they mean. */
export function resultPanel(result: Result): HTMLElement {
  const { call, threshold } = result.decision;
  const [told, limit] = toldApart(result.probability, threshold);
  const codes = new Set(result.findings.map(({ code }) => code));
  const where = call === "positive" ? "above" : "not above";
  const doubtful = codes.has("out-of-distribution");
  return h(
    "section",
    { class: "card panel result", "aria-labelledby": "result-title" },
    h("h2", { id: "result-title" }, "Result"),
    h(
      "div",
      { class: "score-line" },
      h("span", { class: `value ${doubtful ? "struck" : ""}` }, told),
      h(
        "div",
        {},
        h("p", { class: "call" }, `${capital(call)}: ${where} the threshold of ${limit}`),
        h("p", { class: "soft" }, "network\u2019s probability of COVID-19, against other pneumonia"),
      ),
    ),
    scale(result.probability, threshold, `Scale from 0 to 100 %: this scan at ${told}, the threshold at ${limit}.`),
    codes.has("weights-demonstration") && demonstrationTag(),
    ...meaningOf(call, told).map((text) => h("p", {}, text)),
  );
}

function scale(value: number, threshold: number, words: string): SVGElement {
  const [width, left] = [400, 8];
  const at = (share: number): number => left + share * (width - 2 * left);
  const ticks = [0, 0.2, 0.4, 0.6, 0.8, 1];
  const text = (x: number, y: number, name: string, kind = "", anchor = "middle"): SVGElement =>
    svg("text", { x, y, class: kind, "text-anchor": anchor }, name);
  const inward = (share: number): string => (share < 0.14 ? "start" : share > 0.86 ? "end" : "middle");
  return svg(
    "svg",
    { class: "scale", viewBox: `0 0 ${width} 66`, role: "img", "aria-label": words },
    svg("rect", { x: at(0), y: 18, width: at(threshold) - at(0), height: 20, class: "below" }),
    svg("rect", { x: at(threshold), y: 18, width: at(1) - at(threshold), height: 20, class: "above" }),
    text(at(0) + 6, 32, "other pneumonia", "inside", "start"),
    text(at(1) - 6, 32, "COVID-19", "inside", "end"),
    svg("line", { x1: at(threshold), x2: at(threshold), y1: 15, y2: 46, class: "limit" }),
    text(at(threshold), 61, `threshold ${percent(threshold)}`, "", inward(threshold)),
    ...ticks.filter((tick) => Math.abs(tick - threshold) > 0.15).map((tick) => text(at(tick), 50, `${100 * tick}`, "tick", inward(tick))),
    svg("path", { d: `M${at(value) - 6} 3h12l-6 13z`, class: "pointer" }),
  );
}

/** What was checked of the map of marked areas; struck out where it failed. */
export function evidencePanel(result: Result): HTMLElement {
  const found = result.map_evidence;
  if (!found) {
    return panel("evidence", "Evidence for the marked areas", true, h("p", {}, "The map is empty: no place of the scan argues for COVID-19."));
  }
  const failed = found.failures.length > 0;
  const verdict = failed
    ? `The map failed a check and is struck through: ${found.failures.join("; ")}.`
    : "The map passed its checks, which say where it lies, not whether it is right.";
  const chance =
    "Chance: what a map spread evenly would have there. Dense lung lies above this patient\u2019s own normal range, here " +
    `${signed(found.normal_up_to_hu)}${SPACE}HU: ${percent(found.dense_lung)} of the lungs.`;
  return panel(
    "evidence",
    "Evidence for the marked areas",
    true,
    h("p", { class: failed ? "fault" : "" }, verdict),
    pairs(evidenceFacts(found), failed ? "struck" : ""),
    h("p", { class: "soft" }, chance),
  );
}

function evidenceFacts(found: MapEvidence): [string, string][] {
  const times = (factor: number): string => `${factor.toFixed(1)}${SPACE}${TIMES}`;
  const sides = found.right === null || found.left === null ? "sides not known" : `${percent(found.right)} / ${percent(found.left)}`;
  const stable = found.stability;
  return [
    ["In the lungs", `${percent(found.inside_lungs)} (${times(found.inside_lungs_over_chance)} chance)`],
    ["Right / left lung", sides],
    ["Upper / middle / lower thirds", [found.upper, found.middle, found.lower].map((share) => percent(share)).join(" / ")],
    ["In dense lung", `${times(found.dense_over_chance)} chance`],
    ["Mirrored / with noise", stable ? `${stable.flip.toFixed(2)} / ${stable.noise.toFixed(2)} correlation` : "not tested"],
  ];
}

/** The table of volumes and densities: both lungs, then each lung and its thirds. */
export function lungsPanel(result: Result): HTMLElement | null {
  const quantity = result.quantification;
  if (!quantity) return null;
  const { regions, windows_hu: windows } = quantity;
  const sides = ["right", "left"].filter((side) => regions[side]);
  const rows: [string, string, string][] = [["both", "whole", "Both lungs"]];
  for (const side of sides) {
    rows.push([side, "", `${capital(side)} lung`]);
    for (const third of ["upper", "middle", "lower"]) rows.push([`${side}-${third}`, "part", `${third} third`]);
  }
  if (!sides.length) for (const third of ["upper", "middle", "lower"]) rows.push([third, "part", `${third} thirds`]);
  const range = (limits: [number, number] | undefined): string =>
    limits ? `${signed(limits[0])} to ${signed(limits[1])}${SPACE}HU` : "as in the report";
  const about =
    "Counted within the outline of the lungs; the diagnosis network has no part in it. Ground-glass density is " +
    `${range(windows?.ground_glass)}, consolidation density ${range(windows?.consolidation)}, as a share of the region. ` +
    "Vessels, airway walls and the edge of the lung count too: healthy lungs have a few percent of either.";
  const heads = ["", "Volume", "Mean", "Ground glass", "Consolid."];
  const row = ([key, kind, name]: [string, string, string]): HTMLElement | null => {
    const region = regions[key];
    return region ? h("tr", { class: kind }, h("th", { scope: "row" }, name), ...cells(region).map((text) => h("td", {}, text))) : null;
  };
  const table = h(
    "table",
    { class: "quantity" },
    h("thead", {}, h("tr", {}, ...heads.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, ...rows.map(row)),
  );
  return panel("lungs", "Lungs", true, table, h("p", { class: "soft" }, about));
}

function cells(region: Region): string[] {
  return [
    `${10 * Math.round(region.millilitres / 10)}${SPACE}ml`,
    `${signed(region.mean_hu)}${SPACE}HU`,
    percent(region.ground_glass),
    percent(region.consolidation),
  ];
}

/** What the head of a case says of the scan. */
export function scanFacts(result: Result): [string, string][] {
  const { scan = {}, geometry } = result;
  const technique = [
    scan.kvp ? `${scan.kvp.toFixed(0)}${SPACE}kV` : "",
    scan.kernel ? `kernel ${scan.kernel}` : "",
    scan.slice_thickness_mm ? `${Number(scan.slice_thickness_mm.toPrecision(2))}${SPACE}mm thick` : "",
  ];
  const [nz, ny, nx] = geometry?.shape_zyx ?? [0, 0, 0];
  const [dz, , dx] = geometry?.spacing_mm_zyx ?? [0, 0, 0];
  const facts: [string, string][] = [
    ["Patient", peopleOf(result)],
    ["Slices", geometry ? `${nz}, every ${Number(dz.toPrecision(3))}${SPACE}mm` : ""],
    ["Pixels", geometry ? `${nx}${SPACE}${TIMES}${SPACE}${ny}, ${dx.toFixed(2)}${SPACE}mm` : ""],
    ["Scanner", [scan.manufacturer, scan.model].filter(Boolean).join(" ")],
    ["Technique", technique.filter(Boolean).join(", ")],
    ["Scan (SHA-256)", scan.scan_sha256?.slice(0, 12) ?? ""],
  ];
  return facts.filter(([, value]) => value);
}

function cardRow(name: string, card: Card | null | undefined): [string, Node] | null {
  if (!card) return null;
  const learned = card.training_data && h("details", { class: "more" }, h("summary", {}, "learned from"), h("p", {}, card.training_data));
  const made = `${card.name ?? ""} (SHA-256 ${card.sha256?.slice(0, 12) ?? "unknown"})`;
  return [
    name,
    h("span", {}, made, card.licence ? `; licence: ${card.licence}` : "", card.demonstration ? h("span", { class: "tag" }, "Demonstration") : null, learned || null),
  ];
}

/** Weights, software and series a result was made with. */
export function originPanel(result: Result): HTMLElement {
  const made = result.provenance ?? {};
  const engines = Object.entries(made.engine ?? {}).map(
    ([name, engine]) => `${name} with ${["engine", "version", "device", "precision"].map((key) => engine?.[key]).filter(Boolean).join(" ")}`,
  );
  const libraries = Object.entries(made.versions ?? {}).map(([name, number]) => `${name} ${number}`);
  const distance = result.feature_distance;
  const rows: ([string, string | Node] | null)[] = [
    cardRow("Diagnosis network", made.weights?.diagnosis),
    cardRow("Lung network", made.weights?.lungs),
    cardRow("Prognostic model", made.prognosis),
    ["Software", [`covid19net ${made.version ?? ""}`, ...engines, libraries.join(", ")].filter(Boolean).join("; ")],
    distance ? ["Distance from training scans", `${distance.value.toFixed(1)}; flagged above ${distance.limit.toFixed(1)}`] : null,
    result.scan?.series_uid ? ["Series", result.scan.series_uid] : null,
  ];
  return panel("origin", "How this was made", false, pairs(rows.filter((row) => row !== null), "origin"));
}

export function usePanel(result: Result): HTMLElement {
  const use = result.intended_use ?? "Research software, not a medical device. Not for diagnosis or treatment.";
  const limits = h("ul", {}, ...LIMITS.map((limit) => h("li", {}, sentence(limit))));
  return panel("use", "Intended use and limits", false, h("p", { class: "call" }, use), limits);
}
