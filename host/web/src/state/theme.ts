/* Light, dark, or as the system has it. Kept in this browser. Not for: colours (styles/tokens.css). */
import { computed, effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

const KEY = "keyreel.theme";
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const system = signal(systemDark.matches);

export const theme = signal<Theme>(stored());
export const dark = computed(() =>
  theme.value === "auto" ? system.value : theme.value === "dark");

systemDark.addEventListener("change", (event) => { system.value = event.matches; });

effect(() => {
  const root = document.documentElement;
  if (theme.value === "auto") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", theme.value);
});

export function toggleTheme(): void {
  const next = dark.value ? "light" : "dark";
  // Back in step with the system means following it again.
  theme.value = (next === "dark") === system.value ? "auto" : next;
  try {
    if (theme.value === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, theme.value);
  } catch {
    // Storage may be closed to us; the choice then lasts as long as the page.
  }
}

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto";
  }
}
