// The pictures with everything that moves them: planes, windows, overlays, slices, and what is read off.

import type { Job, StoredFile } from "./api";
import * as api from "./api";
import { h, show, svg } from "./dom";
import type { Result } from "./result";
import type { Shortcut } from "./shortcuts";
import type { Letter } from "./letters";
import type { Layout, Spot, Viewer, Window } from "./viewer";
import { SPACE, bytes, capital, signed } from "./words";

const PRESETS: Record<string, Window> = {
  Lung: { centre: -600, width: 1500 },
  Mediastinum: { centre: 40, width: 400 },
};
const NAMES: Record<Layout, string> = { axial: "Axial", coronal: "Coronal", sagittal: "Sagittal", planes: "3 planes" };
const VOLUMES = ["ct.nii.gz", "lungs.nii.gz", "heatmap.nii.gz"] as const;
const LEAP = 10; // slices
const START = { lungs: 0.8, heat: 0.75 }; // opacities; the map's as in the report

/** A row of buttons of which one is pressed. */
function choice(label: string, names: Record<string, string>, pick: (key: string) => void): { element: HTMLElement; mark: (key: string | null) => void } {
  const buttons = Object.entries(names).map(([key, name]) =>
    h("button", { type: "button", "aria-pressed": "false", "data-key": key, click: () => pick(key) }, name),
  );
  const mark = (key: string | null): void => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset["key"] === key));
  };
  return { element: h("div", { class: "choice", role: "group", "aria-label": label }, ...buttons), mark };
}

export class ViewerPanel {
  readonly element = h("section", { class: "viewer", "aria-label": "Pictures" });
  private readonly canvas = h("canvas", { class: "stage", tabindex: "0", role: "img", "aria-label": "CT slice; arrow keys scroll" });
  private readonly over = h("div", { class: "over" });
  private readonly letters = h("div", { class: "over", "aria-hidden": "true" });
  private readonly readout = h("output", { class: "readout" });
  private readonly slice = h("input", { type: "range", min: "1", max: "1", value: "1", "aria-label": "Slice" });
  private readonly lungs = h("input", { type: "range", min: "0", max: "100", value: String(100 * START.lungs) });
  private readonly heat = h("input", { type: "range", min: "0", max: "100", value: String(100 * START.heat) });
  private readonly centre = h("input", { type: "number", step: "10", "aria-label": "Window centre, HU" });
  private readonly width = h("input", { type: "number", step: "10", min: "1", "aria-label": "Window width, HU" });
  private readonly planes = choice("Planes", NAMES, (key) => this.plan(key as Layout));
  private readonly windows = choice("Window", { Lung: "Lung", Mediastinum: "Mediastinum" }, (key) => this.preset(key));
  private readonly ends = new AbortController();
  private viewer: Viewer | null = null;
  private readonly unreliable: boolean;
  private readonly sidesKnown: boolean;
  private readonly strike: HTMLElement;
  private before = { lungs: START.lungs, heat: START.heat };

  constructor(
    private readonly job: Job,
    private readonly files: readonly StoredFile[],
    result: Result,
  ) {
    const codes = new Set(result.findings.map(({ code }) => code));
    this.unreliable = codes.has("map-unreliable") || (result.map_evidence?.failures.length ?? 0) > 0;
    this.sidesKnown = !codes.has("orientation-unknown");
    if (this.unreliable) this.heat.value = "0";
    this.strike = h(
      "div",
      { class: "strike", hidden: true },
      svg("svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("path", { d: "M0 0L100 100M100 0L0 100" })),
      h("span", {}, "Marked areas are not reliable"),
    );
  }

  close(): void {
    this.ends.abort();
    this.viewer?.close();
    this.viewer = null;
  }

  async open(): Promise<void> {
    if (!VOLUMES.every((name) => this.files.some((file) => file.name === name))) {
      await this.instead("The pictures of this scan were not kept, or have expired.");
      return;
    }
    if (!h("canvas").getContext("webgl2")) {
      await this.instead("This browser cannot show volumes: it has no WebGL 2.");
      return;
    }
    show(this.element, this.toolbar(), h("div", { class: "screen" }, this.canvas, this.letters, this.strike, this.over, this.readout));
    try {
      await this.load();
    } catch (error) {
      if (this.ends.signal.aborted) return;
      this.close();
      await this.instead(`The pictures could not be shown: ${error instanceof Error ? error.message : "unknown fault"}.`);
    }
  }

  private async load(): Promise<void> {
    const sizes = new Map(this.files.map((file) => [file.name, file.bytes]));
    const total = VOLUMES.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
    const come = new Map<string, number>();
    const bar = h("progress", { max: String(total), value: "0", "aria-label": "Loading" });
    const told = h("p", {}, "Loading the scan");
    show(this.over, h("div", { class: "loading" }, told, bar));
    const [ct, lungs, heat] = await Promise.all(
      VOLUMES.map(async (name) => {
        const blob = await api.file(this.job.id, name, this.ends.signal, (count) => {
          come.set(name, count);
          const sum = [...come.values()].reduce((a, b) => a + b, 0);
          bar.value = sum;
          told.textContent = `Loading the scan: ${bytes(sum)} of ${bytes(total)}`;
        });
        return blob.arrayBuffer();
      }),
    );
    if (!ct || !lungs || !heat) return;
    told.textContent = "Unpacking the scan";
    bar.removeAttribute("value");
    const { Viewer } = await import("./viewer");
    if (this.ends.signal.aborted) return;
    this.viewer = await Viewer.open(
      this.canvas,
      { ct, lungs, heat },
      {
        sidesKnown: this.sidesKnown,
        window: PRESETS["Lung"] ?? { centre: -600, width: 1500 },
        onSpot: (spot) => this.read(spot),
        onWindow: (window) => this.tellWindow(window),
        onDrawn: (letters) => this.write(letters),
      },
    );
    if (this.ends.signal.aborted) {
      this.viewer.close();
      return;
    }
    show(this.over, this.legend());
    this.plan("axial");
    this.tellWindow(this.viewer.window);
    this.overlay();
    this.canvas.dataset["ready"] = "true";
    this.canvas.addEventListener("webglcontextlost", () => {
      if (this.ends.signal.aborted) return;
      show(this.over, h("div", { class: "loading" }, h("p", {}, "The graphics card lost the pictures."), h("button", { type: "button", click: () => location.reload() }, "Load again")));
    });
  }

  /** The report's own picture, where the volumes cannot be shown. */
  private async instead(why: string): Promise<void> {
    const parts: Node[] = [h("p", { class: "fault" }, why)];
    if (this.files.some(({ name }) => name === "montage.png")) {
      const picture = await api.file(this.job.id, "montage.png", this.ends.signal).catch(() => null);
      const alt = "Slices with the outline of the lungs beside the heat map, the patient\u2019s right on the left";
      if (picture) parts.push(h("img", { class: "montage", src: URL.createObjectURL(picture), alt }));
    }
    show(this.element, h("div", { class: "instead" }, ...parts));
  }

  private toolbar(): HTMLElement {
    const tool = (name: string, ...parts: Node[]): HTMLElement => h("div", { class: "tool" }, h("span", { class: "soft" }, name), ...parts);
    const button = (name: string, says: string, run: () => void): HTMLElement =>
      h("button", { type: "button", "aria-label": says, title: says, click: run }, name);
    this.lungs.setAttribute("aria-label", "Opacity of the lung mask");
    this.heat.setAttribute("aria-label", "Opacity of the heat map");
    this.lungs.addEventListener("input", () => this.overlay());
    this.heat.addEventListener("input", () => this.overlay());
    this.slice.addEventListener("input", () => this.viewer?.step(Number(this.slice.value) - (this.viewer.at[0] ?? 1)));
    const manual = (): void => {
      const [centre, width] = [Number(this.centre.value), Number(this.width.value)];
      if (this.viewer && Number.isFinite(centre) && width >= 1) this.viewer.window = { centre, width };
    };
    this.centre.addEventListener("change", manual);
    this.width.addEventListener("change", manual);
    const unit = (name: string, field: HTMLElement): HTMLElement => h("label", { class: "unit" }, name, field);
    return h(
      "div",
      { class: "toolbar", role: "group", "aria-label": "How the pictures are shown" },
      tool("Planes", this.planes.element),
      tool("Window", this.windows.element, unit("C", this.centre), unit("W", this.width)),
      tool("Lungs", this.lungs),
      tool("Heat map", this.heat, button("Strongest", "Go to the strongest heat in the lungs", () => this.viewer?.goToHottest())),
      tool(
        "Zoom",
        button("\u2212", "Zoom out", () => this.viewer?.zoom(-1)),
        button("+", "Zoom in", () => this.viewer?.zoom(1)),
        button("Fit", "Show all of the picture", () => this.viewer?.fit()),
      ),
      h("div", { class: "tool grow" }, h("span", { class: "soft" }, "Slice"), this.slice),
    );
  }

  private legend(): HTMLElement {
    const swatch = (kind: string, name: string): HTMLElement => h("span", {}, h("i", { class: `swatch ${kind}` }), name);
    const sides = this.sidesKnown ? [swatch("right", "right lung"), swatch("left", "left lung")] : [swatch("right", "lungs")];
    const unknown = this.sidesKnown ? null : h("strong", { class: "fault" }, "left and right are not known");
    return h("div", { class: "legend" }, ...sides, h("span", {}, "heat 0", h("i", { class: "ramp" }), `100${SPACE}%`), unknown);
  }

  private plan(layout: Layout): void {
    this.viewer?.setLayout(layout);
    this.planes.mark(layout);
  }

  private preset(name: string): void {
    const window = PRESETS[name];
    if (this.viewer && window) this.viewer.window = window;
  }

  private tellWindow({ centre, width }: Window): void {
    this.centre.value = centre.toFixed(0);
    this.width.value = width.toFixed(0);
    const name = Object.entries(PRESETS).find(([, preset]) => preset.centre === centre && preset.width === width)?.[0];
    this.windows.mark(name ?? null);
  }

  private overlay(): void {
    this.viewer?.setOverlays(Number(this.lungs.value) / 100, Number(this.heat.value) / 100);
    this.strike.hidden = !(this.unreliable && Number(this.heat.value) > 0);
  }

  private toggle(slider: HTMLInputElement, name: "lungs" | "heat"): void {
    const now = Number(slider.value) / 100;
    if (now > 0) this.before[name] = now;
    slider.value = now > 0 ? "0" : String(100 * this.before[name]);
    this.overlay();
  }

  private write(letters: readonly Letter[]): void {
    const told = JSON.stringify(letters);
    if (told === this.letters.dataset["told"]) return;
    this.letters.dataset["told"] = told;
    const spans = letters.map(({ edge, text, left, top }) => {
      const span = h("span", { class: `letter ${edge}` }, text);
      [span.style.left, span.style.top] = [`${left}px`, `${top}px`];
      return span;
    });
    show(this.letters, ...spans);
  }

  private read(spot: Spot | null): void {
    if (this.viewer) {
      const [at, of] = this.viewer.at;
      [this.slice.max, this.slice.value] = [String(of), String(at)];
      this.slice.setAttribute("aria-valuetext", `${at} of ${of}`);
    }
    if (!spot) return;
    const heat = spot.heat !== null && spot.heat > 0 ? `heat ${spot.heat.toFixed(0)}${SPACE}%` : "";
    const lung = spot.lung ? (this.sidesKnown ? ["", "right lung", "left lung"][spot.lung] : "lung") : "";
    const millimetres = { axial: spot.head, coronal: spot.back, sagittal: spot.right }[spot.plane];
    const axis = { axial: "z", coronal: "y", sagittal: "x" }[spot.plane];
    const from = spot.plane === "axial" ? " from the feet" : "";
    const slice = `${capital(spot.plane)} ${spot.slice} of ${spot.slices}${from}, ${axis} ${signed(millimetres)}${SPACE}mm`;
    show(this.readout, h("span", {}, slice), h("span", {}, [`${signed(spot.hu)}${SPACE}HU`, lung, heat].filter(Boolean).join(" \u00b7 ")));
  }

  shortcuts(): Shortcut[] {
    const step = (count: number) => () => this.viewer?.step(count);
    const layouts: [string, Layout][] = [["a", "axial"], ["c", "coronal"], ["s", "sagittal"], ["m", "planes"]];
    return [
      { keys: ["ArrowUp"], shown: "\u2191", does: "next slice, to the head (front, right)", run: step(1) },
      { keys: ["ArrowDown"], shown: "\u2193", does: "next slice, to the feet (back, left)", run: step(-1) },
      { keys: ["PageUp"], shown: "PgUp", does: `${LEAP} slices to the head`, run: step(LEAP) },
      { keys: ["PageDown"], shown: "PgDn", does: `${LEAP} slices to the feet`, run: step(-LEAP) },
      { keys: ["Home"], shown: "Home", does: "first slice at the head", run: step(Number.MAX_SAFE_INTEGER) },
      { keys: ["End"], shown: "End", does: "last slice at the feet", run: step(-Number.MAX_SAFE_INTEGER) },
      ...layouts.map(([key, layout]) => ({ keys: [key], shown: key, does: NAMES[layout].toLowerCase(), run: () => this.plan(layout) })),
      { keys: ["1"], shown: "1", does: "lung window", run: () => this.preset("Lung") },
      { keys: ["2"], shown: "2", does: "mediastinum window", run: () => this.preset("Mediastinum") },
      { keys: ["l"], shown: "l", does: "lung mask on or off", run: () => this.toggle(this.lungs, "lungs") },
      { keys: ["h"], shown: "h", does: "heat map on or off", run: () => this.toggle(this.heat, "heat") },
      { keys: [" "], shown: "Space", does: "the bare CT, as long as it is held", run: () => this.bare() },
      { keys: ["g"], shown: "g", does: "strongest heat in the lungs", run: () => void this.viewer?.goToHottest() },
      { keys: ["+", "="], shown: "+", does: "zoom in", run: () => this.viewer?.zoom(1) },
      { keys: ["-"], shown: "\u2212", does: "zoom out", run: () => this.viewer?.zoom(-1) },
      { keys: ["0"], shown: "0", does: "all of the picture", run: () => this.viewer?.fit() },
    ];
  }

  private bare(): void {
    this.viewer?.cover(true);
    addEventListener("keyup", () => this.viewer?.cover(false), { once: true, signal: this.ends.signal });
  }
}
