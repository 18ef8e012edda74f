// What the mouse does on a picture: wheel and drags with each button.

import type { Viewer } from "./viewer";

const NOTCH = 80; // pixels that one notch of a mouse's wheel turns at least, for one slice
const FINGER_TURN = 30; // pixels of a trackpad's turning that make one slice
const LINE = 20; // pixels of a line, for mice that turn by lines
const HU_PER_PIXEL = 2; // of dragging a window

/** Follows the mouse on the canvas until the signal. */
export function listenToMouse(viewer: Viewer, canvas: HTMLCanvasElement, signal: AbortSignal): void {
  canvas.addEventListener("wheel", wheel(viewer), { signal, passive: false });
  canvas.addEventListener("contextmenu", (event) => event.preventDefault(), { signal });
  canvas.addEventListener("pointerdown", (event) => press(viewer, canvas, event, signal), { signal });
  canvas.addEventListener("pointermove", (event) => event.buttons === 0 && viewer.read(event), { signal });
  canvas.addEventListener("pointerleave", () => viewer.tell(), { signal });
}

function wheel(viewer: Viewer): (event: WheelEvent) => void {
  let scrolled = 0;
  return (event) => {
    event.preventDefault();
    if (event.ctrlKey) {
      viewer.zoom(event.deltaY < 0 ? 1 : -1);
      return;
    }
    const turned = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : 1);
    scrolled = Math.abs(turned) >= NOTCH ? Math.sign(turned) * FINGER_TURN : scrolled + turned;
    const steps = Math.trunc(scrolled / FINGER_TURN);
    if (steps === 0) return;
    scrolled -= steps * FINGER_TURN;
    viewer.step(-steps, viewer.under(event)?.plane ?? viewer.plane); // down is towards the feet
  };
}

function press(viewer: Viewer, canvas: HTMLCanvasElement, first: PointerEvent, closed: AbortSignal): void {
  canvas.focus({ preventScroll: true });
  const ends = new AbortController();
  const listening = { signal: AbortSignal.any([ends.signal, closed]) };
  const drag = dragOf(viewer, first);
  let [x, y] = [first.clientX, first.clientY];
  const move = (event: PointerEvent): void => {
    drag(event, event.clientX - x, event.clientY - y);
    [x, y] = [event.clientX, event.clientY];
  };
  canvas.setPointerCapture(first.pointerId);
  canvas.addEventListener("pointermove", move, listening);
  canvas.addEventListener("pointerup", () => ends.abort(), listening);
  canvas.addEventListener("pointercancel", () => ends.abort(), listening);
  drag(first, 0, 0);
}

/** Left chooses the place, right (or with Alt) the window, middle (or with Shift) the part that is shown. */
function dragOf(viewer: Viewer, first: PointerEvent): (event: PointerEvent, dx: number, dy: number) => void {
  if (first.button === 2 || first.altKey) {
    return (_event, dx, dy) => {
      const { centre, width } = viewer.window;
      if (dx || dy) viewer.window = { centre: centre + HU_PER_PIXEL * dy, width: Math.max(1, width + HU_PER_PIXEL * dx) };
    };
  }
  if (first.button === 1 || first.shiftKey) {
    const plane = viewer.under(first)?.plane ?? viewer.plane;
    return (_event, dx, dy) => viewer.pan(plane, dx, dy);
  }
  return (event) => viewer.point(event);
}
