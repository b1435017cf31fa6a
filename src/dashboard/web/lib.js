// The one door to the third-party library: every module takes html, render and the hooks from here.
//
// html`…` builds virtual nodes (htm with Preact). Values in it become text nodes or properties, so that whatever a job
// contains is escaped: no module makes HTML from text.

export {
	html, render, h, Component, createContext, useState, useEffect, useLayoutEffect, useRef, useMemo, useCallback, useReducer, useContext
} from './vendor/htm-preact-standalone.module.js';
