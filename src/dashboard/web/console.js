// The console of a job: what it has logged, and what it logs while it runs.
//
// Fetches the last lines, then those behind the last one once a second while the job runs and the tab is visible. "Follow" keeps the end
// in view; scrolling up turns it off. Lines further up are fetched when asked for. At most KEEP lines are kept.

import { html, useEffect, useRef, useState } from './lib.js';
import { get } from './api.js';
import { exact, num, plural } from './format.js';
import { Card, CopyButton, ErrorBox, Icon } from './ui.js';

const FIRST = 500;
const KEEP = 5000;
const LEVELS = [['', 'All levels'], ['info', 'Info and above'], ['warning', 'Warnings and errors'], ['error', 'Errors']];
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hourCycle: 'h23' });
const at = (t) => { const date = new Date(t); return Number.isNaN(date.getTime()) ? String(t) : timeFormat.format(date); };

function useLog(id, level, running) {
	const [state, set] = useState({ rows: [], earlier: false, loading: true, error: null });
	const rows = useRef([]);
	const earlier = useRef(false);
	useEffect(() => {
		let gone = false;
		let timer = null;
		let delay = 1000;
		rows.current = [];
		const ask = async () => {
			const last = rows.current.at(-1)?.seq;
			try {
				const { data } = await get('job_log', { id, level, rows: FIRST, after: last });
				if (gone) return;
				if (last === undefined) earlier.current = data.more;
				if (data.rows.length || last === undefined) rows.current = [...rows.current, ...data.rows].slice(-KEEP);
				delay = 1000;
				set({ rows: rows.current, earlier: earlier.current, loading: false, error: null });
			} catch (error) {
				if (gone) return;
				delay = 5000;
				set({ rows: rows.current, earlier: earlier.current, loading: false, error });
			}
			if (running) timer = setTimeout(tick, delay);
		};
		const tick = () => { if (document.hidden) timer = setTimeout(tick, 1000); else ask(); };
		ask();
		return () => { gone = true; clearTimeout(timer); };
	}, [id, level, running]);
	const more = async () => {
		const { data } = await get('job_log', { id, level, rows: FIRST, before: rows.current[0]?.seq });
		earlier.current = data.more;
		rows.current = [...data.rows, ...rows.current].slice(0, KEEP);
		set({ rows: rows.current, earlier: earlier.current && rows.current.length < KEEP, loading: false, error: null });
	};
	return { ...state, more };
}

const icons = { error: 'failed', warning: 'warning' };

export function Console({ id, running }) {
	const [level, setLevel] = useState('');
	const [follow, setFollow] = useState(true);
	const log = useLog(id, level, running);
	const box = useRef(null);
	useEffect(() => { if (follow && box.current) box.current.scrollTop = box.current.scrollHeight; }, [log.rows, follow]);
	if (!log.rows.length && !level && !log.error && !running) return null;
	const onScroll = () => {
		const { scrollTop, scrollHeight, clientHeight } = box.current;
		const atEnd = scrollHeight - scrollTop - clientHeight < 24;
		if (atEnd !== follow) setFollow(atEnd);
	};
	const text = () => log.rows.map((l) => `${l.at} ${l.level}: ${l.message}`).join('\n');
	return html`<${Card} title="Console" class="console-card" actions=${html`
			<select class="input small" aria-label="Levels" value=${level} onChange=${(event) => setLevel(event.target.value)}>${LEVELS.map(([value, label]) => html`<option key=${value} value=${value} selected=${value === level}>${label}</option>`)}</select>
			${running && html`<button type="button" class=${`button small ${follow ? 'on' : ''}`} aria-pressed=${follow} onClick=${() => setFollow(!follow)}><${Icon} name="down" /> Follow</button>`}
			${log.rows.length > 0 && html`<${CopyButton} text=${text()} label="Copy" />`}`}>
		<${ErrorBox} error=${log.error} />
		<div class="console" ref=${box} onScroll=${onScroll} tabindex="0" role="log" aria-label="Lines of the console" aria-live="off">
			${log.earlier && html`<button type="button" class="button small ghost" onClick=${log.more}><${Icon} name="up" /> Earlier lines</button>`}
			${!log.rows.length && html`<p class="faint">${log.loading ? 'Loading…' : level ? 'No line has this level.' : 'Nothing yet. Lines of bgjob_log() and RAISE NOTICE appear here at once.'}</p>`}
			${log.rows.map((l) => html`<div key=${l.seq} class=${`line-row ${l.level}`}><time class="line-at" datetime=${l.at} title=${exact(l.at)}>${at(l.at)}</time>
				<span class="line-level">${icons[l.level] && html`<${Icon} name=${icons[l.level]} size=${12} />`}${l.level}</span><span class="line-text" dir="auto">${l.message}${l.cut && html`<span class="faint"> … cut</span>`}</span></div>`)}</div>
		<p class="console-foot faint">${log.earlier ? 'the last ' : ''}${plural(log.rows.length, 'line')}${log.rows.length >= KEEP ? `; the newest ${num(KEEP)} are kept here` : ''}${running ? ' · live' : ''}</p></${Card}>`;
}
