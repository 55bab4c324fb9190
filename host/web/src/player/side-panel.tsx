/* Beside the transcript: who spoke, what is marked, what is known, what protects it. */
import { bytes, clock, longDate, mediaName, roleName, spoken } from "../format";
import { tenantName } from "../state/session";
import { Headset, Hold, Lock, Person } from "../ui/icons";
import type { Model } from "./model";
import { ProtectionFacts } from "./protection-badge";

export function SidePanel({ model }: { model: Model }) {
  const { recording, engine } = model;
  const media = recording.parts.find((part) => part.name === "media");
  return (
    <aside class="side" aria-label="Details" id="panel-details" tabIndex={0}>
      <section class="card">
        <h2>People</h2>
        <ul class="people">
          {recording.channels.map((channel) => (
            <li key={channel.channel}>
              <span class={`role-icon role-${channel.role}`}>{channel.role === "agent" ? <Headset size={16} /> : <Person size={16} />}</span>
              <span><strong>{channel.name ?? roleName(channel.role)}</strong>
                <span class="muted">{[channel.name ? roleName(channel.role) : null, channel.address].filter(Boolean).join(" · ")}</span></span>
            </li>
          ))}
        </ul>
      </section>
      {recording.spans.length > 0 && (
        <section class="card">
          <h2>Marked stretches</h2>
          <ul class="spans">
            {engine.spans.value.map((span) => {
              const description = recording.spans.find((known) => known.startMs / 1000 === span.start)?.description;
              return (
                <li key={span.start}>
                  <button type="button" class="span-row" onClick={() => engine.seek(span.start)}>
                    <span class="span-icon">{span.reason === "SecurePause" ? <Lock size={16} /> : <Hold size={16} />}</span>
                    <span><strong>{span.label}</strong>{description && <span class="muted">{description}</span>}</span>
                    <span class="mono"><span aria-hidden="true">{clock(span.start)}–{clock(span.end)}</span>
                      <span class="visually-hidden">from {spoken(span.start)} to {spoken(span.end)}</span></span>
                  </button>
                </li>
              );
            })}
          </ul>
        </section>
      )}
      <section class="card">
        <h2>Protection</h2>
        <ProtectionFacts model={model} />
      </section>
      <section class="card">
        <h2>Recording</h2>
        <dl class="facts">
          <div><dt>Started</dt><dd>{longDate(recording.startTime)}</dd></div>
          <div><dt>Organisation</dt><dd>{tenantName(recording.tenant)}</dd></div>
          {recording.queue && <div><dt>Queue</dt><dd>{recording.queue}</dd></div>}
          <div><dt>Media</dt><dd>{mediaName(recording.media)}, {recording.contentType}{media ? `, ${bytes(media.bytes)}` : ""}</dd></div>
          <div><dt>Conversation</dt><dd class="mono small">{recording.conversationId}</dd></div>
          {recording.labels.length > 0 && <div><dt>Labels</dt><dd class="labels">{recording.labels.map((label) => <span class="label" key={label}>{label}</span>)}</dd></div>}
        </dl>
      </section>
    </aside>
  );
}
