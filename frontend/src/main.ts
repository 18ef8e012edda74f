// Starts the page: the frame around everything, the token, and which view the address asks for.

import * as api from "./api";
import { showCase } from "./case";
import { h, show } from "./dom";
import { frame } from "./frame";
import { askToken } from "./login";
import { clearShortcuts, listenToKeys } from "./shortcuts";
import { showWorkList } from "./worklist";

/** A view that is on screen; called to end it. */
export type Leave = () => void;

let leave: Leave = () => undefined;

function view(parts: ReturnType<typeof frame>, service: api.Service): void {
  leave();
  clearShortcuts();
  const found = /^#\/jobs\/([0-9a-f]{32})$/.exec(location.hash);
  leave = found?.[1] ? showCase(parts, service, found[1]) : showWorkList(parts, service);
  scrollTo(0, 0);
}

async function start(): Promise<void> {
  const parts = frame();
  show(document.body, ...parts.elements);
  const open = async (): Promise<void> => {
    const service = await api.service();
    parts.tell(service);
    view(parts, service);
    onhashchange = () => view(parts, service);
  };
  api.whenLocked(() => {
    const refused = api.token() !== null;
    api.keepToken(null);
    onhashchange = null;
    leave();
    leave = () => undefined;
    clearShortcuts();
    askToken(parts, refused, open);
  });
  listenToKeys();
  try {
    await open();
  } catch (error) {
    if (error instanceof api.ApiError && error.status === 401) return;
    const retry = h("button", { type: "button", class: "primary", click: () => location.reload() }, "Try again");
    show(parts.main, h("section", { class: "card lonely" }, h("h1", {}, "The service does not answer"), retry));
  }
}

void start();
