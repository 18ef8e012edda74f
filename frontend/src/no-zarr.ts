// Stands in for zarrita, which NiiVue uses for chunked images only: those are never opened here, and without it no
// WebAssembly is shipped.
const refuse = (): never => {
  throw new Error("chunked images are not read");
};
export const open = refuse;
export const get = refuse;
export const root = refuse;
export const FetchStore = refuse;
export const slice = refuse;
