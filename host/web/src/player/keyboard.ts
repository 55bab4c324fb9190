/* The keyboard map of the player, and its words for the help dialog: one table, so that the two agree.
   Not for: keys inside form fields, which are the fields' own. */
import { neighbour } from "./engine/transcript";
import type { Model } from "./model";

export interface Shortcut {
  keys: string[];
  does: string;
  group: "Play" | "Move" | "Loop" | "Find" | "Voices" | "View";
  run: (model: Model, actions: Actions) => void;
  /* What the key event's `key` may be; letters in lower case. */
  match: (event: KeyboardEvent) => boolean;
}

export interface Actions {
  focusSearch: () => void;
  copyLink: () => void;
}

const plain = (...keys: string[]) => (event: KeyboardEvent) =>
  keys.includes(event.key.length === 1 ? event.key.toLowerCase() : event.key);
const arrow = (key: string, shift: boolean) => (event: KeyboardEvent) =>
  event.key === key && event.shiftKey === shift;

function utterance(model: Model, direction: 1 | -1): void {
  const lines = model.lines.value;
  if (lines.state !== "ready") return;
  const to = neighbour(lines.value, model.engine.time.value, direction);
  if (to !== undefined) model.engine.seek(to);
}

export const SHORTCUTS: Shortcut[] = [
  { group: "Play", keys: ["Space", "K"], does: "Play or pause", match: plain(" ", "k"), run: ({ engine }) => engine.toggle() },
  { group: "Play", keys: ["<"], does: "Slower", match: plain("<", ","), run: ({ engine }) => engine.stepRate(-1) },
  { group: "Play", keys: [">"], does: "Faster", match: plain(">", "."), run: ({ engine }) => engine.stepRate(1) },
  { group: "Play", keys: ["S"], does: "Skip silence on or off", match: plain("s"), run: ({ engine }) => {
    engine.skipSilence.value = !engine.skipSilence.value;
    engine.say(`Skip silence ${engine.skipSilence.value ? "on" : "off"}`);
  } },
  { group: "Move", keys: ["J"], does: "Back 10 seconds", match: plain("j"), run: ({ engine }) => engine.nudge(-10) },
  { group: "Move", keys: ["L"], does: "Forward 10 seconds", match: plain("l"), run: ({ engine }) => engine.nudge(10) },
  { group: "Move", keys: ["←"], does: "Back 5 seconds", match: arrow("ArrowLeft", false), run: ({ engine }) => engine.nudge(-5) },
  { group: "Move", keys: ["→"], does: "Forward 5 seconds", match: arrow("ArrowRight", false), run: ({ engine }) => engine.nudge(5) },
  { group: "Move", keys: ["Shift", "←"], does: "Previous utterance", match: arrow("ArrowLeft", true), run: (model) => utterance(model, -1) },
  { group: "Move", keys: ["Shift", "→"], does: "Next utterance", match: arrow("ArrowRight", true), run: (model) => utterance(model, 1) },
  { group: "Move", keys: ["Home"], does: "To the start", match: plain("Home"), run: ({ engine }) => engine.seek(0) },
  { group: "Move", keys: ["End"], does: "To the end", match: plain("End"), run: ({ engine }) => engine.seek(engine.duration.value) },
  { group: "Loop", keys: ["["], does: "Loop from here", match: plain("["), run: ({ engine }) => engine.markLoop("a") },
  { group: "Loop", keys: ["]"], does: "Loop to here", match: plain("]"), run: ({ engine }) => engine.markLoop("b") },
  { group: "Loop", keys: ["\\"], does: "No loop", match: plain("\\"), run: ({ engine }) => engine.clearLoop() },
  { group: "Find", keys: ["/"], does: "Search the transcript", match: plain("/"), run: (_, actions) => actions.focusSearch() },
  { group: "Find", keys: ["F"], does: "Transcript follows, on or off", match: plain("f"), run: (model) => {
    model.follow.value = !model.follow.value;
    model.engine.say(`Follow ${model.follow.value ? "on" : "off"}`);
  } },
  { group: "Find", keys: ["C"], does: "Copy link at this time", match: plain("c"), run: (_, actions) => actions.copyLink() },
  { group: "Voices", keys: ["M"], does: "Mute", match: plain("m"), run: ({ engine }) => {
    engine.setMuted(!engine.muted.value);
    engine.say(engine.muted.value ? "Muted" : "Sound on");
  } },
  { group: "Voices", keys: ["1", "2"], does: "Mute the first or second voice", match: plain("1", "2"), run: () => undefined },
  { group: "Voices", keys: ["Shift", "1", "2"], does: "Hear only the first or second voice", match: () => false, run: () => undefined },
  { group: "View", keys: ["+"], does: "Zoom in", match: plain("+", "="), run: ({ view }) => view.value?.setZoom(view.value.zoom.value * 1.6) },
  { group: "View", keys: ["−"], does: "Zoom out", match: plain("-", "_"), run: ({ view }) => view.value?.setZoom(view.value.zoom.value / 1.6) },
  { group: "View", keys: ["?"], does: "This help", match: plain("?"), run: (model) => { model.help.value = !model.help.value; } },
];

/* Whether the event was a shortcut, which has then been carried out. */
export function handleKey(event: KeyboardEvent, model: Model, actions: Actions): boolean {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return false;
  if (isOthers(event)) return false;
  // By position: with Shift, digits are other characters on every keyboard.
  const digit = /^Digit([12])$/.exec(event.code)?.[1];
  if (digit) {
    const lane = model.lanes.value[Number(digit) - 1];
    if (!lane) return false;
    model.engine.toggleLane(lane.channel, event.shiftKey ? "solo" : "muted");
    return true;
  }
  const shortcut = SHORTCUTS.find((candidate) => candidate.match(event));
  if (!shortcut) return false;
  shortcut.run(model, actions);
  return true;
}

/* Keys that belong to what has the focus: text, menus, ranges; and Space to every button. */
function isOthers(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  if (document.querySelector("dialog[open]") && event.key !== "?") return true;
  if (target.isContentEditable || /^(TEXTAREA|SELECT)$/.test(target.tagName)) return true;
  if (target instanceof HTMLInputElement) {
    return target.type === "range" ? /^(Arrow|Home|End|Page)/.test(event.key) : true;
  }
  return event.key === " " && target.closest("button, a, summary, [role=tab]") !== null;
}
