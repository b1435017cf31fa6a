// Keyboard shortcuts of the whole page. A viewer who does not want single-key shortcuts can turn them off in the help ("?").
//
//   g then a letter   opens a page        /   the search box        ?   the help
//   j, k              next, previous row  x   selects the row       enter opens it

import { go } from './router.js';
import { pages } from './pages.js';
import { setSetting, setting } from './settings.js';

let prefix = 0;
let shortcuts = setting('shortcuts', 'on');

export const shortcutsOn = () => shortcuts !== 'off';

export function setShortcuts(on) {
	shortcuts = on ? 'on' : 'off';
	setSetting('shortcuts', shortcuts);
}

const typing = (target) => Boolean(target.closest?.('input:not([type=checkbox]), textarea, select, [contenteditable]'));

// moveRow moves the focus to the next or previous row of the first table, or of the one that has it.
function moveRow(step) {
	const table = document.activeElement?.closest('[data-table]') ?? document.querySelector('main [data-table]');
	const rows = [...table?.querySelectorAll('[data-row]') ?? []];
	const at = rows.indexOf(document.activeElement?.closest('[data-row]'));
	const row = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
	row?.focus();
	row?.scrollIntoView({ block: 'nearest' });
	return Boolean(row);
}

// installKeys handles the keys of the document; showHelp is called for "?".
export function installKeys(showHelp) {
	const onKeyDown = (event) => {
		if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
		if (event.key === 'Escape' && typing(event.target)) { event.target.blur(); return; }
		if (typing(event.target) || !shortcutsOn()) return;
		if (handle(event.key, showHelp)) event.preventDefault();
	};
	document.addEventListener('keydown', onKeyDown);
	return () => document.removeEventListener('keydown', onKeyDown);
}

function handle(key, showHelp) {
	if (Date.now() - prefix < 1500) {
		prefix = 0;
		const page = pages.find((p) => p.key === key);
		if (page) go(page.name);
		return Boolean(page);
	}
	switch (key) {
		case 'g': prefix = Date.now(); return true;
		case '/': { const box = document.querySelector('[data-search]'); box?.focus(); box?.select?.(); return Boolean(box); }
		case '?': showHelp(); return true;
		case 'j': return moveRow(1);
		case 'k': return moveRow(-1);
		default: return false;
	}
}
