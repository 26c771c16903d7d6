package job

import "time"

// KindRole and KindRoleBinding are the kinds of the manifests of who may do what.
const (
	KindRole        = "Role"
	KindRoleBinding = "RoleBinding"
)

// Limits of roles and bindings.
const (
	MaxRoleRules    = 100
	MaxRoleItems    = 100
	MaxRoleSubjects = 1000
)

// RoleSpec is what a user writes about a role. Its JSON form is the manifest's.
type RoleSpec struct {
	// Rules are what the role allows. They only add to one another.
	Rules []RoleRule `json:"rules"`
}

// RoleRule allows verbs on kinds of things.
type RoleRule struct {
	// Verbs are what is allowed; "*" is all of it.
	Verbs []string `json:"verbs"`
	// Resources are the kinds of things on which it is; "*" are all of them.
	Resources []string `json:"resources"`
	// Namespaces are those in which it is. Empty: all.
	Namespaces []string `json:"namespaces,omitempty"`
	// Labels must be on a thing. Empty: whatever labels it has.
	Labels map[string]string `json:"labels,omitempty"`
	// Targets, RunAs and Commands bound what may be started by the verbs run, exec and
	// edit, as those of a StartRule do. Targets are target expressions, of which one must
	// admit the minion. Empty: every minion.
	Targets []string `json:"targets,omitempty"`
	// RunAs are the accounts as which commands may run; "@minion" is the minion's own.
	// Empty: any account.
	RunAs []string `json:"runAs,omitempty"`
	// Commands say what may be started, in the grammar of a minion's own list (worker
	// --allow), without user. Empty: anything.
	Commands []CommandRule `json:"commands,omitempty"`
}

// Starts returns what of the rule bounds what may be started.
func (r *RoleRule) Starts() StartRule {
	return StartRule{Targets: r.Targets, RunAs: r.RunAs, Commands: r.Commands}
}

// Role is a named list of what is allowed. It belongs to the whole cluster, so its
// namespace is always DefaultNamespace.
type Role struct {
	Metadata
	Spec RoleSpec `json:"spec"`

	// CreatedAt and UpdatedAt are for people; nothing is decided by them. They are
	// zero for a role that every cluster has.
	CreatedAt time.Time `json:"createdAt,omitzero"`
	UpdatedAt time.Time `json:"updatedAt,omitzero"`
}

// RoleBindingSpec is what a user writes about who has a role. Its JSON form is the
// manifest's.
type RoleBindingSpec struct {
	// Role is the name of the role.
	Role string `json:"role"`
	// Subjects are who has it.
	Subjects []RoleSubject `json:"subjects"`
	// Namespaces are those in which they have it. Empty: all.
	Namespaces []string `json:"namespaces,omitempty"`
}

// RoleSubject is somebody, or all of a group.
type RoleSubject struct {
	// Kind says how they are known: user, group, token or account.
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// RoleBinding gives a role to subjects. It belongs to the whole cluster, so its
// namespace is always DefaultNamespace.
type RoleBinding struct {
	Metadata
	Spec RoleBindingSpec `json:"spec"`

	// CreatedAt and UpdatedAt are for people; nothing is decided by them.
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}
