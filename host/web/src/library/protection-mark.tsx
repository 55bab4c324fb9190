/* Who holds the key, and how strong it is, in one line: by icon and by word, never by colour alone. */
import { algorithmName, algorithmStrength } from "../format";
import { Cloud, Key, Server } from "../ui/icons";

export function ProtectionMark(props: { provider: string; name: string; algorithm: string; kek: string }) {
  const strength = algorithmStrength(props.algorithm);
  return (
    <span class="protection-mark" title={`${props.name} · ${props.kek} · ${algorithmName(props.algorithm)}`} data-testid="protection">
      <ProviderIcon provider={props.provider} size={15} />
      <span>{props.name}</span>
      {strength === "post-quantum" && <span class="tag tag-strong">PQ<span class="visually-hidden">: post-quantum, AES-256 strength</span></span>}
      {strength === "legacy" && <span class="tag tag-legacy">Legacy</span>}
    </span>
  );
}

export function ProviderIcon({ provider, size }: { provider: string; size?: number }) {
  switch (provider) {
    case "aws-kms": return <Cloud size={size} />;
    case "lkm": return <Server size={size} />;
    default: return <Key size={size} />;
  }
}
