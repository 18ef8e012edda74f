// The pictures of a case: CT, lung mask and heat map in NiiVue, moved by mouse and keys of our own.
// NiiVue's handlers are switched off: they would reset the window on a double click and open files dropped on them.

import { NVImage, Niivue, SHOW_RENDER, SLICE_TYPE, cmapper } from "@niivue/niivue";
import { type Letter, lettersOf } from "./letters";
import { place } from "./marks";
import { listenToMouse } from "./mouse";

export type Layout = "axial" | "coronal" | "sagittal" | "planes";

export interface Window {
  centre: number; // HU
  width: number;
}

/** What stands at one place of the scan. */
export interface Spot {
  plane: "axial" | "coronal" | "sagittal";
  slice: number; // from 1
  slices: number;
  right: number; // millimetres to the patient's left, back and head: LPS, as DICOM counts
  back: number;
  head: number;
  hu: number;
  heat: number | null; // percent of the map's largest value
  lung: number | null; // value of the mask
}

const AXES: Record<Spot["plane"], number> = { sagittal: 0, coronal: 1, axial: 2 };
const TYPES = { axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL };
const PLANES: readonly (Spot["plane"] | undefined)[] = ["axial", "coronal", "sagittal"]; // as NiiVue numbers them
// Left, top, width and height of the pictures as shares of the canvas.
type Place = { sliceType: number; position: [number, number, number, number] };
const THREE: Place[] = [
  { sliceType: SLICE_TYPE.AXIAL, position: [0, 0, 0.6, 1] },
  { sliceType: SLICE_TYPE.CORONAL, position: [0.61, 0, 0.39, 0.495] },
  { sliceType: SLICE_TYPE.SAGITTAL, position: [0.61, 0.505, 0.39, 0.495] },
];
const one = (sliceType: number): Place[] => [{ sliceType, position: [0, 0, 1, 1] }];
// The report's colours of heat, dark to bright, readable without colour vision too; weak heat lets the CT through.
const WARM = { R: [0, 87, 188, 249, 252], G: [0, 16, 55, 142, 255], B: [4, 110, 84, 9, 164] };
const HEAT = { ...WARM, A: [0, 255, 255, 255, 255], I: [0, 64, 128, 191, 255] };
const LUNGS = { R: [0, 80, 120], G: [0, 210, 165], B: [0, 225, 255], A: [0, 255, 255], I: [0, 1, 2], labels: ["", "right", "left"] };
const CROSSHAIR = 0.8; // voxels
const FILL = 0.06; // opacity within the outline of the lungs, as a share of the outline's
const FULL_HEAT = 50; // percent of the map's largest value from which heat covers the CT as far as was asked for
const FADING = 1; // NiiVue's kind of colours that fade with the square of the value below that
const CT = 0;
const MAP = 1;
const ZOOM_STEP = 1.25;
const LARGEST_ZOOM = 12;

export interface Volumes {
  ct: ArrayBuffer;
  lungs: ArrayBuffer;
  heat: ArrayBuffer;
}

export class Viewer {
  private layout: Layout = "axial";
  private pending = false;
  private readonly ends = new AbortController();
  private readonly opacities: [number, number] = [0, 0]; // of lungs and map, as asked for
  private covered = false; // overlays are hidden for a look at the bare CT

  private constructor(
    private readonly nv: Niivue,
    private readonly canvas: HTMLCanvasElement,
    private readonly onSpot: (spot: Spot | null) => void,
    private readonly onWindow: (window: Window) => void,
    private readonly onDrawn: (letters: readonly Letter[]) => void,
    private readonly sidesKnown: boolean,
  ) {}

  /** Shows the volumes of a case, all three on one grid, in a canvas that already stands in the page. */
  static async open(
    canvas: HTMLCanvasElement,
    volumes: Volumes,
    options: {
      sidesKnown: boolean;
      window: Window;
      onSpot: (spot: Spot | null) => void;
      onWindow: (window: Window) => void;
      onDrawn: (letters: readonly Letter[]) => void;
    },
  ): Promise<Viewer> {
    const nv = new Niivue({
      logLevel: "error",
      interactive: false,
      dragAndDropEnabled: false,
      isRadiologicalConvention: true,
      isOrientationTextVisible: false, // it is hard to read on a bright picture; the letters are ours
      sagittalNoseLeft: true,
      multiplanarShowRender: SHOW_RENDER.NEVER,
      crosshairColor: [0.45, 0.75, 0.95, 0.7],
      crosshairWidth: 0,
      crosshairGap: 12,
      fontColor: [0.93, 0.95, 0.97, 1],
      fontMinPx: 15,
      fontSizeScaling: 0.35,
      backColor: [0, 0, 0, 1],
      loadingText: "",
      isNearestInterpolation: false,
    });
    await nv.attachToCanvas(canvas, false);
    const viewer = new Viewer(nv, canvas, options.onSpot, options.onWindow, options.onDrawn, options.sidesKnown);
    await viewer.add(volumes, options.window);
    viewer.follow();
    return viewer;
  }

  private follow(): void {
    const { signal } = this.ends;
    listenToMouse(this, this.canvas, signal);
    const sizes = new ResizeObserver(() => setTimeout(() => this.draw(), 50)); // after NiiVue's own
    sizes.observe(this.canvas);
    signal.addEventListener("abort", () => sizes.disconnect());
  }

  private async add(volumes: Volumes, window: Window): Promise<void> {
    const nv = this.nv;
    nv.addColormap("warm", HEAT);
    const [low, high] = limits(window);
    const ct = await NVImage.loadFromUrl({ url: volumes.ct, name: "ct.nii.gz", cal_min: low, cal_max: high });
    const lungs = await NVImage.loadFromUrl({ url: volumes.lungs, name: "lungs.nii.gz", cal_min: 0, cal_max: 2 });
    const heat = await NVImage.loadFromUrl({
      url: volumes.heat,
      name: "heatmap.nii.gz",
      colormap: "warm",
      cal_min: FULL_HEAT,
      cal_max: 100,
    });
    // The mask is NiiVue's drawing: that has a texture and an outline of its own, so that no change of the heat map's
    // or the mask's opacity makes the volumes anew.
    nv.drawLut = cmapper.makeDrawLut(LUNGS);
    heat.colormapType = FADING;
    nv.volumes.push(ct);
    nv.addVolume(heat); // makes the textures of both
    nv.loadDrawing(lungs);
    this.lungs = lungs;
    this.start(place(heat.img, lungs.img, this.dims(), heat.img2RASstart, heat.img2RASstep));
  }

  private lungs: NVImage | null = null;

  /** Starts in the middle of the lungs; the hottest place is one key away. */
  private start(found: { middle: number[]; hottest: number[] | null }): void {
    this.hottest = found.hottest;
    this.go(found.middle);
  }

  private hottest: number[] | null = null;

  close(): void {
    this.ends.abort();
    this.nv.cleanup();
    this.nv.gl.getExtension("WEBGL_lose_context")?.loseContext(); // pages keep few contexts, with all their textures
  }

  /** Voxels to the right, back and head. */
  private dims(): [number, number, number] {
    const [, x = 1, y = 1, z = 1] = this.nv.volumes[CT]?.dimsRAS ?? [];
    return [x, y, z];
  }

  private go(voxel: readonly number[]): void {
    const [x = 0, y = 0, z = 0] = voxel;
    this.nv.scene.crosshairPos = this.nv.vox2frac([x, y, z]);
    this.draw();
    this.tell();
  }

  goToHottest(): boolean {
    if (this.hottest) this.go(this.hottest);
    return this.hottest !== null;
  }

  /** One drawing for any number of changes before the next frame. */
  private draw(update = false): void {
    if (update) this.stale = true;
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      if (this.ends.signal.aborted) return;
      const ct = this.nv.volumes[CT];
      if (this.stale && ct) this.nv.refreshLayers(ct, CT);
      this.nv.drawScene();
      this.stale = false;
      this.onDrawn(this.sidesKnown ? lettersOf(this.nv, this.canvas) : []);
    });
  }

  private stale = false;

  get window(): Window {
    const ct = this.nv.volumes[CT];
    const [low, high] = [ct?.cal_min ?? 0, ct?.cal_max ?? 1];
    return { centre: (low + high) / 2, width: high - low };
  }

  set window(window: Window) {
    const ct = this.nv.volumes[CT];
    if (!ct) return;
    [ct.cal_min, ct.cal_max] = limits(window);
    this.draw(true);
    this.onWindow(this.window);
  }

  /** Opacities from 0 to 1. */
  setOverlays(lungs: number, heat: number): void {
    this.opacities.splice(0, 2, lungs, heat);
    this.applyOverlays();
  }

  /** Hides both overlays for as long as it is asked for. */
  cover(covered: boolean): void {
    if (covered === this.covered) return;
    this.covered = covered;
    this.applyOverlays();
  }

  private applyOverlays(): void {
    const [lungs, heat] = this.covered ? [0, 0] : this.opacities;
    this.nv.drawOpacity = FILL * lungs;
    this.nv.drawRimOpacity = lungs;
    this.nv.overlayAlphaShader = heat;
    this.draw();
  }

  setLayout(layout: Layout): void {
    this.layout = layout;
    const nv = this.nv;
    nv.opts.crosshairWidth = layout === "planes" ? CROSSHAIR : 0;
    nv.setCustomLayout(layout === "planes" ? THREE : one(TYPES[layout]));
    this.fit();
    this.draw(); // with the letters
    this.tell();
  }

  get plane(): Spot["plane"] {
    return this.layout === "planes" ? "axial" : this.layout;
  }

  /** Moves by slices of the plane: to the head, the front or the patient's right for a positive count. */
  step(count: number, plane = this.plane): void {
    const nv = this.nv;
    const voxel = [...nv.frac2vox(nv.scene.crosshairPos)];
    const axis = AXES[plane];
    const last = (this.dims()[axis] ?? 1) - 1;
    voxel[axis] = Math.min(last, Math.max(0, Math.round(voxel[axis] ?? 0) + count));
    this.go(voxel);
  }

  /** Slice and number of slices of the plane, the slice from 1. */
  get at(): [number, number] {
    const axis = AXES[this.plane];
    const voxel = this.nv.frac2vox(this.nv.scene.crosshairPos);
    return [Math.round(voxel[axis] ?? 0) + 1, this.dims()[axis] ?? 1];
  }

  zoom(turns: number): void {
    const pan = this.nv.scene.pan2Dxyzmm;
    const zoom = Math.min(LARGEST_ZOOM, Math.max(1, pan[3] * ZOOM_STEP ** turns));
    this.nv.setPan2Dxyzmm(zoom === 1 ? [0, 0, 0, 1] : [pan[0], pan[1], pan[2], zoom]);
  }

  fit(): void {
    this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
  }

  /** Reads off the place that was chosen. */
  tell(): void {
    this.onSpot(this.spotAt(this.nv.scene.crosshairPos, this.plane));
  }

  private spotAt(place: ArrayLike<number>, plane: Spot["plane"]): Spot | null {
    const nv = this.nv;
    const frac: [number, number, number] = [place[0] ?? 0, place[1] ?? 0, place[2] ?? 0];
    const voxel = [...nv.frac2vox(frac)].map(Math.round);
    const mm = nv.frac2mm(frac, 0, true);
    const axis = AXES[plane];
    const value = (volume: NVImage | null | undefined): number | null => {
      const found = volume?.getValue(voxel[0] ?? 0, voxel[1] ?? 0, voxel[2] ?? 0);
      return found === undefined || !Number.isFinite(found) ? null : found;
    };
    const hu = value(nv.volumes[CT]);
    if (hu === null) return null;
    return {
      plane,
      slice: (voxel[axis] ?? 0) + 1,
      slices: this.dims()[axis] ?? 1,
      right: -(mm[0] ?? 0),
      back: -(mm[1] ?? 0),
      head: mm[2] ?? 0,
      hu,
      lung: value(this.lungs),
      heat: value(nv.volumes[MAP]),
    };
  }

  /** The picture under the pointer: its plane, and the place in the scan; null beside all pictures. */
  under(event: MouseEvent): { plane: Spot["plane"]; frac: ArrayLike<number> } | null {
    const box = this.canvas.getBoundingClientRect();
    const dpr = this.canvas.width / Math.max(1, box.width);
    const [x, y] = [(event.clientX - box.left) * dpr, (event.clientY - box.top) * dpr];
    const tile = this.nv.tileIndex(x, y);
    const plane = PLANES[this.nv.screenSlices[tile]?.axCorSag ?? -1];
    if (tile < 0 || !plane) return null;
    const frac = this.nv.screenXY2TextureFrac(x, y, tile, true);
    return (frac[0] ?? -1) < 0 ? null : { plane, frac };
  }

  /** Reads off the place under the pointer, or where none is, the one that was chosen. */
  read(event: MouseEvent): void {
    const found = this.under(event);
    if (found) this.onSpot(this.spotAt(found.frac, found.plane));
    else this.tell();
  }

  /** Chooses the place under the pointer. */
  point(event: MouseEvent): void {
    const found = this.under(event);
    if (!found) return;
    this.nv.scene.crosshairPos = [found.frac[0] ?? 0, found.frac[1] ?? 0, found.frac[2] ?? 0];
    this.draw();
    this.tell();
  }

  /** Moves the picture of a plane by CSS pixels. */
  pan(plane: Spot["plane"], dx: number, dy: number): void {
    const tile = this.nv.screenSlices.find((slice) => PLANES[slice.axCorSag] === plane);
    const dpr = this.canvas.width / Math.max(1, this.canvas.clientWidth);
    const [x = 0, y = 0, z = 0, zoom = 1] = this.nv.scene.pan2Dxyzmm;
    const scale = ((tile?.fovMM[0] ?? 0) / Math.max(1, tile?.leftTopWidthHeight[2] ?? 1)) * dpr * zoom; // it moves, then zooms
    const [across, down] = [dx * scale, dy * scale];
    const moved: Record<Spot["plane"], [number, number, number, number]> = {
      axial: [x + across, y + down, z, zoom],
      coronal: [x + across, y, z + down, zoom],
      sagittal: [x, y + across, z + down, zoom],
    };
    this.nv.setPan2Dxyzmm(moved[plane]);
  }
}

function limits({ centre, width }: Window): [number, number] {
  return [centre - width / 2, centre + width / 2];
}
