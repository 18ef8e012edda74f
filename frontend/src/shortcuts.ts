// Keys: what a view registers, the list that shows all of them, and never while something is typed.

import { h, show } from "./dom";

export interface Shortcut {
  keys: readonly string[]; // values of KeyboardEvent.key
  shown: string;
  does: string;
  run: (event: KeyboardEvent) => void;
}

let current: readonly Shortcut[] = [];
let dialog: HTMLDialogElement | null = null;

export function setShortcuts(shortcuts: readonly Shortcut[]): void {
  current = shortcuts;
}

export function clearShortcuts(): void {
  current = [];
}

/** The list of shortcuts of the view, filled each time it is opened. */
export function helpDialog(): HTMLDialogElement {
  const list = h("dl", { class: "keys" });
  const element = h(
    "dialog",
    { "aria-labelledby": "keys-title" },
    h("h2", { id: "keys-title" }, "Shortcuts"),
    list,
    h("p", { class: "soft" }, "Mouse on a picture: wheel scrolls slices; right button (or Alt) and drag sets the window; Shift and drag moves; Ctrl and wheel zooms."),
    h("p", { class: "soft" }, h("a", { href: "/assets/licences.txt", target: "_blank", rel: "noopener" }, "Licences of third-party software")),
    h("form", { method: "dialog" }, h("button", { class: "primary", autofocus: true }, "Close")),
  );
  const fill = (): void => {
    const row = (keys: string, does: string): HTMLElement =>
      h("div", {}, h("dt", {}, ...keys.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, does));
    show(list, ...current.map(({ shown, does }) => row(shown, does)), row("?", "this list"));
  };
  const open = element.showModal.bind(element);
  element.showModal = () => {
    fill();
    open();
  };
  dialog = element;
  return element;
}

const TYPED = "input:not([type=range]):not([type=checkbox]):not([type=radio]):not([type=button]), textarea, select";

export function listenToKeys(): void {
  addEventListener("keydown", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    if (event.ctrlKey || event.metaKey || event.altKey || dialog?.open || target?.closest(TYPED)) return;
    if (event.key === "?") {
      dialog?.showModal();
      return;
    }
    const onControl = target?.closest("button, a, summary, input, [role=region][tabindex]");
    const found = current.find(({ keys }) => keys.includes(event.key));
    if (!found || (onControl && /^(Enter| |Arrow|Page|Home|End)/.test(event.key))) return; // keys the control has itself
    event.preventDefault();
    found.run(event);
  });
}
