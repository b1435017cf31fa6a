// The theme: light, dark, or as the system has it. It is the attribute data-theme of <html>, and kept in this browser.

import { setSetting, setting } from './settings.js';

const ORDER = ['system', 'light', 'dark'];

let chosen = setting('theme', 'system');

export const theme = () => (ORDER.includes(chosen) ? chosen : 'system');

export function applyTheme() {
	if (theme() === 'system') delete document.documentElement.dataset.theme;
	else document.documentElement.dataset.theme = theme();
	document.dispatchEvent(new CustomEvent('bgjob:theme'));
}

// nextTheme turns to the next of the three, and returns its name.
export function nextTheme() {
	chosen = ORDER[(ORDER.indexOf(theme()) + 1) % ORDER.length];
	setSetting('theme', chosen);
	applyTheme();
	return theme();
}

// isDark tells which of the two is shown.
export const isDark = () => theme() === 'dark' || theme() === 'system' && matchMedia('(prefers-color-scheme: dark)').matches;

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => document.dispatchEvent(new CustomEvent('bgjob:theme')));
