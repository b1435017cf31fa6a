// The page Overview.

import { html } from '../lib.js';
import { PageHead, useData, Code } from '../ui.js';

export default function Page() {
	const { data, ms } = useData('overview', {}, { refresh: true });
	return html`<${PageHead} title="Overview" ms=${ms} /><${Code} text=${JSON.stringify(data, null, 2)} />`;
}
