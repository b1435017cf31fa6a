// The page Limits.

import { html } from '../lib.js';
import { PageHead, useData, Code } from '../ui.js';

export default function Page() {
	const { data, ms } = useData('limits', {}, { refresh: true });
	return html`<${PageHead} title="Limits" ms=${ms} /><${Code} text=${JSON.stringify(data, null, 2)} />`;
}
