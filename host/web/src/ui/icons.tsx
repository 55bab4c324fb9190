/* Icons, drawn on a 24-unit grid with the current colour. They are decoration: whatever holds one
   has words of its own. */
import type { ComponentChildren } from "preact";

export type IconProps = { size?: number; class?: string };

function icon(children: ComponentChildren, filled = false) {
  return function Icon({ size = 18, class: name }: IconProps) {
    return (
      <svg
        class={name ? `icon ${name}` : "icon"} width={size} height={size} viewBox="0 0 24 24" aria-hidden="true"
        fill={filled ? "currentColor" : "none"} stroke={filled ? "none" : "currentColor"}
        stroke-width="1.75" stroke-linecap="round" stroke-linejoin="round"
      >
        {children}
      </svg>
    );
  };
}

export const Play = icon(<path d="M7 4.6v14.8a.8.8 0 0 0 1.2.7l11.6-7.4a.8.8 0 0 0 0-1.4L8.2 3.9a.8.8 0 0 0-1.2.7Z" />, true);
export const Pause = icon(<><rect x="6" y="4.5" width="4.2" height="15" rx="1" /><rect x="13.8" y="4.5" width="4.2" height="15" rx="1" /></>, true);
export const Back10 = icon(<><path d="M4 4.5v4.8h4.8" /><path d="M4.6 9.2A8.2 8.2 0 1 1 4 13.4" /><path d="M9 10.8v5.4" /><rect x="11.4" y="10.8" width="3.8" height="5.4" rx="1.9" /></>);
export const Forward10 = icon(<><path d="M20 4.5v4.8h-4.8" /><path d="M19.4 9.2a8.2 8.2 0 1 0 .6 4.2" /><path d="M9 10.8v5.4" /><rect x="11.4" y="10.8" width="3.8" height="5.4" rx="1.9" /></>);
export const Search = icon(<><circle cx="10.8" cy="10.8" r="6.3" /><path d="m15.6 15.6 4.9 4.9" /></>);
export const Close = icon(<path d="m6 6 12 12M18 6 6 18" />);
export const Check = icon(<path d="m4.5 12.5 5 5 10-11" />);
export const Up = icon(<path d="m6 14.5 6-6 6 6" />);
export const Down = icon(<path d="m6 9.5 6 6 6-6" />);
export const Left = icon(<path d="m14.5 6-6 6 6 6" />);
export const Right = icon(<path d="m9.5 6 6 6-6 6" />);
export const Link = icon(<><path d="M10 14a4.2 4.2 0 0 0 6 .2l3-3a4.2 4.2 0 0 0-6-6l-1 1" /><path d="M14 10a4.2 4.2 0 0 0-6-.2l-3 3a4.2 4.2 0 0 0 6 6l1-1" /></>);
export const Shield = icon(<path d="M12 3.2 5 5.8v5.4c0 4.3 2.9 7.7 7 9.6 4.1-1.9 7-5.3 7-9.6V5.8Z" />);
export const ShieldCheck = icon(<><path d="M12 3.2 5 5.8v5.4c0 4.3 2.9 7.7 7 9.6 4.1-1.9 7-5.3 7-9.6V5.8Z" /><path d="m8.8 11.8 2.3 2.3 4.2-4.4" /></>);
export const ShieldAlert = icon(<><path d="M12 3.2 5 5.8v5.4c0 4.3 2.9 7.7 7 9.6 4.1-1.9 7-5.3 7-9.6V5.8Z" /><path d="M12 8.2v4.4M12 15.6v.1" /></>);
export const Key = icon(<><circle cx="8" cy="15.5" r="4.2" /><path d="m11 12.5 8.5-8.5M15.5 8l3 3" /></>);
export const Cloud = icon(<path d="M7 18.5a4.2 4.2 0 0 1-.5-8.4 5.7 5.7 0 0 1 11-1.2A4.8 4.8 0 0 1 17 18.5Z" />);
export const Server = icon(<><rect x="4" y="4.5" width="16" height="6.2" rx="1.6" /><rect x="4" y="13.3" width="16" height="6.2" rx="1.6" /><path d="M7.5 7.6h.1M7.5 16.4h.1" /></>);
export const Phone = icon(<path d="M6.3 3.8h2.6l1.6 4.4-2 1.5a12 12 0 0 0 5.8 5.8l1.5-2 4.4 1.6v2.6a2 2 0 0 1-2.2 2A16 16 0 0 1 4.3 6a2 2 0 0 1 2-2.2Z" />);
export const Chat = icon(<path d="M4 5.5h16v11H11l-4.6 3.6v-3.6H4Z" />);
export const Mail = icon(<><rect x="3.5" y="5.5" width="17" height="13" rx="1.6" /><path d="m4 7 8 6 8-6" /></>);
export const Screen = icon(<><rect x="3.5" y="4.5" width="17" height="11.5" rx="1.6" /><path d="M9 20h6" /></>);
export const In = icon(<path d="M18 6 7 17M7 9v8h8" />);
export const Out = icon(<path d="M6 18 17 7M9 7h8v8" />);
export const Transcript = icon(<path d="M5 6h14M5 10.5h14M5 15h9M5 19.5h6" />);
export const Sun = icon(<><circle cx="12" cy="12" r="3.8" /><path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M18.4 5.6 17 7M7 17l-1.4 1.4" /></>);
export const Moon = icon(<path d="M20 14.2A8.2 8.2 0 0 1 9.8 4a8.2 8.2 0 1 0 10.2 10.2Z" />);
export const Help = icon(<><circle cx="12" cy="12" r="8.5" /><path d="M9.6 9.6a2.5 2.5 0 1 1 3.6 2.3c-.8.4-1.2.9-1.2 1.8M12 16.6v.1" /></>);
export const Alert = icon(<><path d="M12 4 2.9 19.5h18.2Z" /><path d="M12 10v4.2M12 16.9v.1" /></>);
export const Info = icon(<><circle cx="12" cy="12" r="8.5" /><path d="M12 11v5M12 7.9V8" /></>);
export const Volume = icon(<><path d="M4 9.5v5h3.6l4.9 4V5.5l-4.9 4Z" /><path d="M15.8 9a4.3 4.3 0 0 1 0 6M18.3 6.5a7.8 7.8 0 0 1 0 11" /></>);
export const VolumeOff = icon(<><path d="M4 9.5v5h3.6l4.9 4V5.5l-4.9 4Z" /><path d="m16 9.5 5 5M21 9.5l-5 5" /></>);
export const Loop = icon(<><path d="M4.5 11V9.5a3 3 0 0 1 3-3H19M16 3.5l3 3-3 3" /><path d="M19.5 13v1.5a3 3 0 0 1-3 3H5M8 20.5l-3-3 3-3" /></>);
export const SkipSilence = icon(<><path d="M3.5 9v6M6.5 6.5v11M9.5 10v4" /><path d="M12.5 12h.1M15 12h.1" /><path d="m17.5 7.5 4 4.5-4 4.5" /></>);
export const ZoomIn = icon(<><circle cx="10.8" cy="10.8" r="6.3" /><path d="m15.6 15.6 4.9 4.9M10.8 8.2v5.2M8.2 10.8h5.2" /></>);
export const ZoomOut = icon(<><circle cx="10.8" cy="10.8" r="6.3" /><path d="m15.6 15.6 4.9 4.9M8.2 10.8h5.2" /></>);
export const Headset = icon(<><path d="M4.5 14.5v-2.6a7.5 7.5 0 0 1 15 0v2.6" /><rect x="3.5" y="13" width="4" height="6" rx="1.6" /><rect x="16.5" y="13" width="4" height="6" rx="1.6" /></>);
export const Person = icon(<><circle cx="12" cy="8.2" r="3.9" /><path d="M4.8 20a7.3 7.3 0 0 1 14.4 0" /></>);
export const People = icon(<><circle cx="9" cy="8.5" r="3.4" /><path d="M2.8 19.4a6.3 6.3 0 0 1 12.4 0M15.6 5.4a3.4 3.4 0 0 1 0 6.2M18 14.2a6.3 6.3 0 0 1 3.2 5.2" /></>);
export const Hold = icon(<><circle cx="12" cy="12" r="8.5" /><path d="M10 9v6M14 9v6" /></>);
export const Lock = icon(<><rect x="5" y="10.5" width="14" height="9.5" rx="2" /><path d="M8 10.5V8a4 4 0 0 1 8 0v2.5" /></>);
export const Follow = icon(<><path d="M5 5h14M5 19h14M5 12h6" /><path d="m14.5 9.5 2.8 2.5-2.8 2.5M17.3 12H13" /></>);
export const Filter = icon(<path d="M4 6.5h16M7 12h10M10 17.5h4" />);
export const Calendar = icon(<><rect x="4" y="5.5" width="16" height="14.5" rx="2" /><path d="M4 10h16M8.5 3.5v4M15.5 3.5v4" /></>);
export const SignOut = icon(<><path d="M10 4.5H6.5a2 2 0 0 0-2 2v11a2 2 0 0 0 2 2H10" /><path d="M15.5 8 20 12l-4.5 4M20 12H10" /></>);
export const Refresh = icon(<><path d="M19.5 12a7.5 7.5 0 1 1-2.2-5.3L19.5 9" /><path d="M19.5 4.5V9H15" /></>);
export const More = icon(<><circle cx="5.5" cy="12" r="1.6" /><circle cx="12" cy="12" r="1.6" /><circle cx="18.5" cy="12" r="1.6" /></>, true);

export function Mark({ size = 28 }: IconProps) {
  return (
    <svg class="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true">
      <rect class="mark-ground" width="32" height="32" rx="8" />
      <g class="mark-line" fill="none" stroke-width="2.6" stroke-linecap="round">
        <path d="M7.5 13.5v5M12 10v12" />
        <circle cx="19.2" cy="13.4" r="4.1" />
        <path d="M19.2 17.5V24M19.2 21.2h3.6" />
      </g>
    </svg>
  );
}
