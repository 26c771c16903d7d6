package rights

// The roles that there are without being made.
const (
	Viewer   = "viewer"
	Runner   = "runner"
	Editor   = "editor"
	Operator = "operator"
	Admin    = "admin"
)

// BuiltIn are the roles that every cluster has, the least first. They hold one another
// in this order.
//
// Output may hold secrets, so that a viewer does not read it; commands of one's own on
// hosts are an operator's, since they are what an account of the host may do.
func BuiltIn() []Role {
	ours := []Kind{Jobs, Runs, Groups, Calendars, Scripts, Queues, Secrets, Notifiers, Defaults, Locks}
	shared := []Kind{HostGroups, Minions, Nodes, Shards, Cluster}
	viewer := []Rule{{Verbs: []Verb{Read}, Kinds: append(append([]Kind{}, ours...), shared...)}}
	runner := append(append([]Rule{}, viewer...), Rule{Verbs: []Verb{Logs, Run}, Kinds: []Kind{Jobs, Runs, Queues}})
	editor := append(append([]Rule{}, runner...), Rule{Verbs: []Verb{Edit, Delete, Pause}, Kinds: ours}, Rule{Verbs: []Verb{Use}, Kinds: []Kind{Secrets}})
	operator := append(append([]Rule{}, editor...),
		Rule{Verbs: []Verb{Operate, Enroll, Pause, Edit, Delete}, Kinds: shared},
		Rule{Verbs: []Verb{Operate}, Kinds: ours},
		Rule{Verbs: []Verb{Exec}, Kinds: []Kind{Minions, Jobs}},
		Rule{Verbs: []Verb{Audit}, Kinds: []Kind{Cluster}},
	)
	return []Role{
		{Viewer, viewer}, {Runner, runner}, {Editor, editor}, {Operator, operator},
		{Admin, []Rule{{Verbs: []Verb{Any}, Kinds: []Kind{AnyKind}}}},
	}
}
