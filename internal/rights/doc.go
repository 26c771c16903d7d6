// Package rights decides who may do what. It is pure: it knows roles and bindings,
// and neither etcd nor HTTP.
//
// A role is a list of rules; a rule allows verbs on kinds of things, in namespaces, and
// only on those with the given labels. A binding gives a role to subjects, in all
// namespaces or in some. What no rule allows is refused.
//
// # Invariants
//
//  1. Deny by default: May is true only if one binding of one of the caller's subjects
//     names a role of which one rule allows the request, within the binding's
//     namespaces. Rules only add: no rule takes away.
//  2. What has no namespace (nodes, minions, the cluster) is allowed by a rule and a
//     binding only that are for all namespaces.
//  3. Verbs imply nothing: who may edit may not therefore read, log, run or delete.
//  4. Nobody grants more than they hold: if Holds is true of a role within namespaces,
//     each request that the role would allow there is one that May allows the caller.
//     The opposite is not promised: rights that several rules give together may not be
//     seen as one.
//  5. A kind or verb that is not known is refused when a role is read, and allowed by
//     nothing but "*" afterwards.
//  6. What a rule may have started by run, exec and edit is bounded by its targets, runAs
//     and commands (job.StartRule); what is not given is not bounded. May is true by rules
//     without bounds only, so that who does not ask for bounds is told no; Starts gives
//     those of all rules that allow the request, and none if one has none. Rules with
//     bounds allow these verbs, on jobs, runs, minions, scripts and queues, and nothing else.
//  7. Now gives bounds that were kept with something, and what the roles that they are of
//     allow now besides: it is never wider than what was kept, and as narrow as the roles
//     have become since. A role that there is not any more allows nothing.
//  8. See agrees with May: a namespace is in it if, and only if, there is a set of labels
//     with which a thing there may be seen.
//
// # Not promised
//
// Whether what is started is within bounds: that is for who knows what it is (see
// internal/command). See looks at no bounds.
package rights
