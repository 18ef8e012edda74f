// Asks for the access token once; it stays in this tab's session storage and nowhere else.

import * as api from "./api";
import { h, show } from "./dom";
import type { Frame } from "./frame";

export function askToken(parts: Frame, refused: boolean, open: () => Promise<void>): void {
  const field = h("input", {
    id: "token",
    type: "password",
    autocomplete: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "token-about token-fault",
  });
  const fault = h("p", { id: "token-fault", class: "fault", role: "alert" });
  if (refused) fault.textContent = "The service does not take this token.";
  const form = h(
    "form",
    { class: "card lonely", autocomplete: "off" },
    h("h1", {}, "Access token"),
    h("p", { id: "token-about", class: "soft" }, "Given to you by whoever runs this service. It is forgotten when this tab is closed."),
    h("label", { for: "token" }, "Token"),
    field,
    fault,
    h("button", { type: "submit", class: "primary" }, "Open"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    api.keepToken(field.value.trim());
    fault.textContent = "";
    open().catch((error: unknown) => {
      if (error instanceof api.ApiError && error.status === 401) return; // asked again already
      fault.textContent = error instanceof Error ? error.message : "The service does not answer.";
    });
  });
  show(parts.main, form);
  field.focus();
}
