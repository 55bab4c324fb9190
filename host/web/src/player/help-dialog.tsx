/* The keyboard map, in words, from the same table that carries it out. */
import { Dialog } from "../ui/parts";
import { SHORTCUTS } from "./keyboard";

export function HelpDialog({ onClose }: { onClose: () => void }) {
  const groups = [...new Set(SHORTCUTS.map((shortcut) => shortcut.group))];
  return (
    <Dialog title="Keyboard" onClose={onClose}>
      <div class="help" data-testid="help">
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {SHORTCUTS.filter((shortcut) => shortcut.group === group).map((shortcut) => (
                <div key={shortcut.does}>
                  <dt>{shortcut.keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>
                  <dd>{shortcut.does}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <p class="muted help-foot">On the waveform, drag with Shift to mark a loop; Ctrl and the wheel zoom.</p>
    </Dialog>
  );
}
