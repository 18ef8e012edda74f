// What is around every view: name, intended use, theme, help, and short news for everybody.

import type { Service } from "./api";
import * as api from "./api";
import { h, show } from "./dom";
import { helpDialog } from "./shortcuts";

const USE = "Research software, not a medical device. Not for diagnosis or treatment.";
const THEME = "covid19net.theme";

export interface Frame {
  elements: HTMLElement[];
  main: HTMLElement;
  /** Shows who answers. */
  tell(service: Service): void;
  /** Says something that passes, to eyes and screen readers. */
  say(text: string): void;
  /** Whether the service answers; a bar says so where it does not. */
  reach(reached: boolean): void;
}

function themeButton(): HTMLButtonElement {
  const root = document.documentElement;
  const button = h("button", { type: "button", class: "quiet" });
  const set = (theme: string): void => {
    root.dataset["theme"] = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Change to ${theme === "dark" ? "light" : "dark"} colours`);
  };
  set(localStorage.getItem(THEME) === "light" ? "light" : "dark");
  button.addEventListener("click", () => {
    const theme = root.dataset["theme"] === "dark" ? "light" : "dark";
    localStorage.setItem(THEME, theme);
    set(theme);
  });
  return button;
}

export function frame(): Frame {
  const main = h("main", { id: "main", tabindex: "-1" });
  const who = h("span", { class: "version" });
  const use = h("p", { class: "use" }, USE);
  const news = h("div", { class: "news", role: "status" });
  const lost = h("div", { class: "lost", role: "alert", hidden: true });
  const help = helpDialog();
  const out = h("button", { type: "button", class: "quiet", hidden: true }, "Sign out");
  out.addEventListener("click", () => {
    api.keepToken(null);
    location.assign("/");
  });
  const header = h(
    "header",
    { class: "bar" },
    h("a", { class: "skip", href: "#main", click: (event: Event) => { event.preventDefault(); main.focus(); } }, "Skip to content"),
    h("a", { class: "name", href: "#/" }, h("strong", {}, "covid19net"), " ", who),
    use,
    h(
      "nav",
      { "aria-label": "Page" },
      h("button", { type: "button", class: "quiet", click: () => help.showModal() }, "Shortcuts"),
      themeButton(),
      out,
    ),
  );
  let fading: ReturnType<typeof setTimeout> | undefined;
  return {
    elements: [header, lost, main, news, help],
    main,
    tell(service) {
      who.textContent = service.version ?? "";
      use.textContent = service.intended_use ?? USE;
      out.hidden = api.token() === null;
    },
    say(text) {
      clearTimeout(fading);
      show(news, text);
      fading = setTimeout(() => show(news), 6000);
    },
    reach(reached) {
      if (lost.hidden === reached) return;
      lost.hidden = reached;
      lost.textContent = reached ? "" : "The service does not answer. What is shown may be old; trying again.";
    },
  };
}
