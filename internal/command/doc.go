// Package command is the grammar of rules for what may be started, which minions' own
// lists (worker/allow) and roles (internal/rights) have in common, and what the bounds of
// a job say about an order.
//
// # Invariants
//
//  1. What a rule does not name, a start may not have: no arguments, no directory of the
//     order's choice, no variable; see worker/allow.
//  2. Where the minion is not known, a program is what the order calls it: a rule admits
//     its own absolute path, and no name that a search path would lead somewhere.
//  3. An order is admitted by a bound if one of its rules admits the account and all that
//     the order starts; it may be sent to the minions that the targets of these rules
//     admit. Of several bounds all have to.
//  4. A bound that cannot be read admits nothing.
//  5. Who stands behind a start is who has caused it and who has applied the job: a rule
//     with subjects admits both or not at all, and nobody who is not known. Roles take no
//     subjects.
//  6. A variable that Carillon sets itself, with a value of the form that it has, needs no
//     name in a rule. A rule that names it bounds it. Parameters and payloads are what others
//     say.
//
// # Not promised
//
// What an admitted program does, as in worker/allow.
package command
