// Package query is the words by which lists of jobs and of runs are asked for: the API,
// the page and the command line take the same ones. It is pure: it parses, and says of a
// thing whether the words select it.
//
//	QUERY  words with spaces between them; all of them must hold
//	WORD   [-]KEY:VALUE[,VALUE...]   one of the values must hold; with the minus, none may
//	       [-]TEXT                   the same as name:TEXT
//	VALUE  text; in double quotes it may hold spaces, commas and colons
//
// A text without * ? [ stands anywhere in a name; a glob is held against all of it. Which
// keys there are, and what they take, is in one table for each kind of list (jobKeys and
// runKeys).
//
//	Q1  What cannot be read is refused as a whole, with each problem and what would be
//	    right; no word is left out silently.
//	Q2  No words select everything.
//	Q3  The order of words does not matter.
package query
