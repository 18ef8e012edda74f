// R, L, A, P, H and F, worked out from where a picture really is in the scan, not from how it was asked for.

import type { Niivue } from "@niivue/niivue";

/** A letter at an edge of a picture; left and top in CSS pixels of the canvas. */
export interface Letter {
  edge: "left" | "right" | "top" | "bottom";
  text: string;
  left: number;
  top: number;
}

/** The way in the patient that a step in RAS millimetres goes, mostly. */
function letterOf(way: readonly number[]): string {
  const axis = way.reduce((best, mm, i) => (Math.abs(mm) > Math.abs(way[best] ?? 0) ? i : best), 0);
  return ((way[axis] ?? 0) > 0 ? ["R", "A", "H"] : ["L", "P", "F"])[axis] ?? "";
}

/** Which way each edge of each picture lies in the patient. */
export function lettersOf(nv: Niivue, canvas: HTMLCanvasElement): Letter[] {
  const dpr = canvas.width / Math.max(1, canvas.clientWidth);
  return nv.screenSlices.flatMap(({ leftTopWidthHeight: [left = 0, top = 0, width = 0, height = 0] }, tile) => {
    const place = (x: number, y: number): number[] => [
      ...nv.frac2mm(nv.screenXY2TextureFrac(left + x * width, top + y * height, tile, false), 0, true),
    ];
    const edges: [Letter["edge"], number, number][] = [
      ["left", 0, 0.5],
      ["right", 1, 0.5],
      ["top", 0.5, 0],
      ["bottom", 0.5, 1],
    ];
    const middle = place(0.5, 0.5);
    return edges.map(([edge, x, y]) => {
      const near = place(0.05 + 0.9 * x, 0.05 + 0.9 * y); // well within the picture
      const way = near.map((mm, i) => mm - (middle[i] ?? 0));
      return { edge, text: letterOf(way), left: (left + x * width) / dpr, top: (top + y * height) / dpr };
    });
  });
}
