// The icons: strokes on a grid of 16, drawn in the colour of the text around them.
//
// An icon is decoration beside a word. One that stands alone gets a label.

import { html } from './lib.js';

const PATHS = {
	// pages
	overview: 'M2.5 9.5l3-3.5 2.5 2.5 5-5.5M2.5 13.5h11',
	jobs: 'M2.5 4h11M2.5 8h11M2.5 12h7',
	failures: 'M8 2.2l6.2 11H1.8zM8 6.5v3M8 11.4v.1',
	recurring: 'M13 6.5A5.3 5.3 0 0 0 3.2 5.7M3 9.5a5.3 5.3 0 0 0 9.8.8M13.3 3v3.5H9.8M2.7 13V9.5h3.5',
	batches: 'M8 2l6 3-6 3-6-3zM2 8.2l6 3 6-3M2 11.2l6 3 6-3',
	queues: 'M2.5 3.5h11v3h-11zM2.5 9.5h11v3h-11z',
	limits: 'M2.5 11.5a5.5 5.5 0 1 1 11 0M8 11.5l3-4.2M8 11.5v.1',
	servers: 'M2.5 2.8h11v4h-11zM2.5 9.2h11v4h-11zM5 4.8h.1M5 11.2h.1M8 4.8h3M8 11.2h3',
	more: 'M3.5 8h.1M8 8h.1M12.5 8h.1',
	// states
	enqueued: 'M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11',
	scheduled: 'M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11M8 5v3.2l2 1.3',
	awaiting: 'M6.5 9.5l3-3M7 4.8l1-1a2.6 2.6 0 0 1 3.8 3.8l-1 1M9 11.2l-1 1a2.6 2.6 0 0 1-3.8-3.8l1-1',
	processing: 'M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11M6.7 5.6l3.8 2.4-3.8 2.4z',
	succeeded: 'M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11M5.5 8.2l1.8 1.8 3.2-3.8',
	failed: 'M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11M6 6l4 4M10 6l-4 4',
	deleted: 'M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11M5.5 8h5',
	// actions and signs
	pause: 'M5.5 3.5v9M10.5 3.5v9', play: 'M4.5 3l8 5-8 5z', trash: 'M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.6 9h5.8l.6-9',
	bolt: 'M9.2 1.8L3.5 9.2h4l-.8 5 5.8-7.4h-4z',
	requeue: 'M3 8a5 5 0 1 0 1.6-3.7M4.6 1.8v2.7h2.7', edit: 'M3 13l.6-3L10.8 2.8l2.4 2.4L6 12.4z', copy: 'M5.5 5.5h8v8h-8zM3.5 10.5h-1v-8h8v1',
	link: 'M6.5 9.5l3-3M7 4.8l1-1a2.6 2.6 0 0 1 3.8 3.8l-1 1M9 11.2l-1 1a2.6 2.6 0 0 1-3.8-3.8l1-1', plus: 'M8 3v10M3 8h10',
	search: 'M7 2.5a4.5 4.5 0 1 1 0 9a4.5 4.5 0 1 1 0-9M10.3 10.3l3.4 3.4', close: 'M4 4l8 8M12 4l-8 8', check: 'M3.5 8.5l3 3 6-7',
	down: 'M4 6.5l4 4 4-4', right: 'M6.5 4l4 4-4 4', left: 'M9.5 4l-4 4 4 4', up: 'M4 9.5l4-4 4 4', clock: 'M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11M8 5v3.2l2 1.3',
	lock: 'M4 7.5h8v6H4zM5.5 7.5V5.2a2.5 2.5 0 0 1 5 0v2.3', warning: 'M8 2.2l6.2 11H1.8zM8 6.5v3M8 11.4v.1', info: 'M8 2.5a5.5 5.5 0 1 1 0 11a5.5 5.5 0 1 1 0-11M8 7.3v3.4M8 5.2v.1',
	sun: 'M8 5.2a2.8 2.8 0 1 1 0 5.6a2.8 2.8 0 1 1 0-5.6M8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9',
	moon: 'M13 9.6A5.4 5.4 0 0 1 6.4 3 5.4 5.4 0 1 0 13 9.6z', screen: 'M2.5 3h11v8h-11zM6 13.5h4', keyboard: 'M1.8 4h12.4v8H1.8zM4.5 6.6h.1M7 6.6h.1M9.5 6.6h.1M12 6.6h.1M5 9.5h6',
	user: 'M8 3a2.5 2.5 0 1 1 0 5a2.5 2.5 0 1 1 0-5M3 13.5c.5-2.6 2.5-3.7 5-3.7s4.5 1.1 5 3.7', out: 'M9.5 3H3.500v10h6M7 8h7M11.5 5.500L14 8l-2.5 2.5',
	database: 'M3 4c0-1 2.2-1.7 5-1.700s5 .7 5 1.7-2.2 1.7-5 1.700S3 5 3 4zM3 4v8c0 1 2.2 1.7 5 1.700s5-.7 5-1.700V4M3 8c0 1 2.2 1.7 5 1.700s5-.7 5-1.7'
};

export function Icon({ name, label, size = 16, class: extra = '' }) {
	return html`<svg class="icon ${extra}" width=${size} height=${size} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="1.5"
		stroke-linecap="round" stroke-linejoin="round" role=${label ? 'img' : null} aria-label=${label} aria-hidden=${label ? null : 'true'}
		focusable="false"><path d=${PATHS[name] ?? PATHS.info} /></svg>`;
}
