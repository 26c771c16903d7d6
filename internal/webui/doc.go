// Package webui is the page: server-rendered, readable without JavaScript, and
// kept current over one stream of events. It asks control for everything; it
// changes nothing.
package webui
