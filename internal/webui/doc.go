// Package webui is the page: server-rendered, readable without JavaScript, and
// kept current over one stream of events. It asks control for everything, and has control do
// what the reader asks for: control decides, records and answers as for requests of the API.
//
// A reader logs in by a token of the API, or by the identity provider. What the browser keeps of the session is
// pagecookie's; whether the session is one is found out before any route, as for all
// requests. Forms need no secret against those of other sites: httpguard, which stands
// in front of all routes, takes no request of an unsafe method from a page of another
// origin.
package webui
