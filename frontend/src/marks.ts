// Where a case is opened: voxels of the lungs' middle and of the strongest heat within them.

type Voxels = ArrayLike<number> | null | undefined;

/**
 * The middle of the lungs, and the place of the strongest heat in the lungs.
 *
 * `start` and `step` say where a voxel counted to the right, front and head stands in the arrays, as NiiVue gives
 * them. The strongest heat is null where no voxel of the lungs has any.
 */
export function place(
  heat: Voxels,
  lungs: Voxels,
  dims: readonly [number, number, number],
  start: readonly number[] = [0, 0, 0],
  step: readonly number[] = [1, dims[0], dims[0] * dims[1]],
): { middle: number[]; hottest: number[] | null } {
  const centre = dims.map((size) => (size - 1) >> 1);
  if (!heat || !lungs) return { middle: centre, hottest: null };
  const [nx, ny, nz] = dims;
  const [sx = 1, sy = nx, sz = nx * ny] = step;
  const origin = start.reduce((sum, part) => sum + part, 0);
  let [first, last, best] = [nz, -1, 0];
  let hottest: number[] | null = null;
  for (let z = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      let at = origin + z * sz + y * sy;
      for (let x = 0; x < nx; x++, at += sx) {
        if (!lungs[at]) continue;
        if (z < first) first = z;
        last = z;
        const value = heat[at] ?? 0;
        if (value > best) [best, hottest] = [value, [x, y, z]];
      }
    }
  }
  const middle = last < 0 ? centre : [centre[0] ?? 0, centre[1] ?? 0, (first + last) >> 1];
  return { middle, hottest };
}
