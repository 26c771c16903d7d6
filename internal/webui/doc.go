// Package webui is the page: what a cluster does, for a browser.
//
// Pages are made whole on the server and read well without JavaScript. With it,
// a page listens to /v1/events and fetches its #content anew when one of the
// topics changes that its <main data-topics> lists. Nothing is loaded from
// elsewhere, and nothing can be changed here.
//
// I1. All that comes from users, minions and commands is escaped.
// I2. No inline script or style: the Content-Security-Policy forbids them.
// I3. What cannot be shown is a page too, with the status that the API would give.
package webui
