/* The fields of a provider's settings, drawn from its plugin's schema, and its secrets, which go in
   and never come out. Not for: what the schema means (schema.ts). */
import type { Field, Value, Values } from "./schema";
import { labelOf } from "./schema";

export function SchemaFields(props: {
  fields: Field[]; values: Values; faults: Record<string, string>; onChange: (name: string, value: Value) => void;
}) {
  return (
    <>
      {props.fields.map((field) => (
        <FieldRow
          key={field.name} field={field} value={props.values[field.name] ?? field.initial} fault={props.faults[field.name]}
          onChange={(value) => props.onChange(field.name, value)}
        />
      ))}
    </>
  );
}

function FieldRow({ field, value, fault, onChange }: { field: Field; value: Value; fault?: string | undefined; onChange: (value: Value) => void }) {
  const id = `field-${field.name}`;
  const about = [field.help && `${id}-help`, fault && `${id}-fault`].filter(Boolean).join(" ") || undefined;
  const common = { id, "data-field": field.name, "aria-describedby": about, "aria-invalid": fault ? true : undefined } as const;
  const help = field.help && <p class="help-line" id={`${id}-help`}>{field.help}</p>;
  const wrong = fault && <p class="fault" id={`${id}-fault`}>{fault}</p>;
  if (field.kind === "switch") {
    return (
      <div class="field-row">
        <label class="check">
          <input type="checkbox" {...common} checked={value === true} onChange={(event) => onChange(event.currentTarget.checked)} />
          <span>{field.label}</span>
        </label>
        {help}{wrong}
      </div>
    );
  }
  return (
    <div class="field-row">
      <label for={id}>{field.label}{!field.required && <span class="optional"> optional</span>}</label>
      {field.kind === "choice" ? (
        <select class="select" {...common} required={field.required} value={String(value)} onChange={(event) => onChange(event.currentTarget.value)}>
          {field.initial === "" && <option value="">{field.required ? "Choose…" : "Not set"}</option>}
          {field.options.map((option) => (
            <option key={option.value} value={option.value}>
              {option.value}{option.value === field.initial ? " (default)" : ""}
            </option>
          ))}
        </select>
      ) : field.kind === "json" ? (
        <textarea class="input mono" rows={3} {...common} required={field.required} value={String(value)} spellcheck={false}
          onInput={(event) => onChange(event.currentTarget.value)} />
      ) : (
        <input
          class="input" {...common} required={field.required} value={String(value)} autocomplete="off" autocapitalize="none" spellcheck={false}
          type="text" inputMode={field.kind === "number" ? "decimal" : field.schema.format === "uri" ? "url" : undefined}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      )}
      {help}{wrong}
    </div>
  );
}

export function SecretFields(props: {
  names: string[]; values: Record<string, string>; faults: Record<string, string>; kept: "kept" | "new"; onChange: (name: string, value: string) => void;
}) {
  return (
    <>
      {props.names.map((name) => {
        const id = `secret-${name}`;
        const fault = props.faults[name];
        return (
          <div class="field-row" key={name}>
            <label for={id}>{labelOf(name)}<span class="optional"> secret</span></label>
            <input
              class="input" id={id} data-secret={name} type="password" autocomplete="new-password" value={props.values[name] ?? ""}
              required={props.kept === "new"} aria-invalid={fault ? true : undefined}
              aria-describedby={fault ? `${id}-help ${id}-fault` : `${id}-help`}
              onInput={(event) => props.onChange(name, event.currentTarget.value)}
            />
            <p class="help-line" id={`${id}-help`}>
              {props.kept === "kept"
                ? "Stored, and shown to nobody. Leave this empty to keep it as it is."
                : "It is stored sealed and shown to nobody again."}
            </p>
            {fault && <p class="fault" id={`${id}-fault`}>{fault}</p>}
          </div>
        );
      })}
    </>
  );
}
