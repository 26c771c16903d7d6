package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// roleVerbs are the verbs of roles and of whom they are bound to.
type roleVerbs struct{ *call }

// roleBindingAliases are the other ways to write rolebinding.
func roleBindingAliases(also string) []string {
	return []string{also, "role-binding", "role-bindings", "roleBinding", "roleBindings", "RoleBinding"}
}

func (ro roleVerbs) getRolesCommand() *cobra.Command {
	return &cobra.Command{
		Use: "roles [NAME...]", Aliases: []string{"role", "Role"},
		Short: "List roles, or show one",
		Long: "List roles, those that every cluster has first, or show one. With -o yaml they\n" +
			"are printed as manifests; `carillon apply` takes back all but the built-in ones.",
		Example: "  carillon get roles\n  carillon get role deployer -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := ro.client.Roles.List(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return printList(&ro.printer, all, ro.roleTable())
			}
			return printNamed(&ro.printer, args, ro.roleTable(), func(name string) (api.Role, error) {
				return named(all, func(r *api.Role) bool { return r.Name == name }, "role "+name)
			})
		},
	}
}

func (ro roleVerbs) roleTable() table[api.Role] {
	return table[api.Role]{
		none: "no roles",
		name: func(r api.Role) string { return r.Name },
		manifest: func(r api.Role) any {
			return manifestOf[job.RoleSpec]{job.APIVersion, job.KindRole, wholeCluster(r.Metadata), r.Spec}
		},
		columns: []column[api.Role]{
			{head: "NAME", cell: func(r api.Role) string { return r.Name }},
			{head: "RULES", cell: func(r api.Role) string { return fmt.Sprint(len(r.Spec.Rules)) }},
			{head: "ALLOWS", cell: func(r api.Role) string {
				var verbs []string
				for i := range r.Spec.Rules {
					verbs = append(verbs, r.Spec.Rules[i].Verbs...)
				}
				slices.Sort(verbs)
				return strings.Join(slices.Compact(verbs), ",")
			}},
			{head: "UPDATED", cell: func(r api.Role) string {
				if r.BuiltIn {
					return "built in"
				}
				return ro.stamp(r.UpdatedAt)
			}},
		},
	}
}

func (ro roleVerbs) getRoleBindingsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "rolebindings [NAME...]", Aliases: roleBindingAliases("rolebinding"),
		Short: "List who has which role, or show one binding",
		Long: "List role bindings, which say who has which role, or show one. With -o yaml they\n" +
			"are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon get rolebindings\n  carillon get rolebinding billing-team -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := ro.client.Bindings.List(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return printList(&ro.printer, all, ro.roleBindingTable())
			}
			return printNamed(&ro.printer, args, ro.roleBindingTable(), func(name string) (job.RoleBinding, error) {
				return named(all, func(b *job.RoleBinding) bool { return b.Name == name }, "role binding "+name)
			})
		},
	}
}

func (ro roleVerbs) roleBindingTable() table[job.RoleBinding] {
	type binding = job.RoleBinding
	return table[binding]{
		none: "no role bindings; create one with `carillon apply -f FILE`",
		name: func(b binding) string { return b.Name },
		manifest: func(b binding) any {
			return manifestOf[job.RoleBindingSpec]{job.APIVersion, job.KindRoleBinding, wholeCluster(b.Metadata), b.Spec}
		},
		columns: []column[binding]{
			{head: "NAME", cell: func(b binding) string { return b.Name }},
			{head: "ROLE", cell: func(b binding) string { return b.Spec.Role }},
			{head: "SUBJECTS", cell: func(b binding) string { return subjectsText(b.Spec.Subjects) }},
			{head: "NAMESPACES", cell: func(b binding) string { return orText(strings.Join(b.Spec.Namespaces, ","), "all") }},
			{head: "UPDATED", cell: func(b binding) string { return ro.stamp(b.UpdatedAt) }},
		},
	}
}

// subjectsText names the first few of who has a role.
func subjectsText(all []job.RoleSubject) string {
	const shown = 3
	var names []string
	for _, s := range all[:min(len(all), shown)] {
		names = append(names, s.Kind+":"+s.Name)
	}
	if n := len(all) - shown; n > 0 {
		names = append(names, fmt.Sprintf("%d more", n))
	}
	return strings.Join(names, ", ")
}

func (ro roleVerbs) describeRoleCommand() *cobra.Command {
	return &cobra.Command{
		Use: "role NAME", Aliases: []string{"roles", "Role"}, Args: exactlyOne("role"),
		Short:   "Show what a role allows, and who has it",
		Example: "  carillon describe role editor",
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := ro.client.Roles.List(cmd.Context())
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(r api.Role) bool { return r.Name == args[0] })
			if i < 0 {
				return fmt.Errorf("role %s: %w", args[0], job.ErrNotFound)
			}
			bindings, err := ro.client.Bindings.List(cmd.Context())
			if err != nil {
				return err
			}
			return ro.describe(all[i], args[0], func() error { ro.roleText(&all[i], bindings); return nil })
		},
	}
}

func (ro roleVerbs) roleText(r *api.Role, bindings []job.RoleBinding) {
	f := newFields(ro.out, "")
	f.add("Role", r.Name)
	for i := range r.Spec.Rules {
		rule := &r.Spec.Rules[i]
		text := strings.Join(rule.Verbs, ", ") + " on " + strings.Join(rule.Resources, ", ")
		if len(rule.Namespaces) > 0 {
			text += " in " + strings.Join(rule.Namespaces, ", ")
		}
		if len(rule.Labels) > 0 {
			text += " with " + pairs(rule.Labels)
		}
		f.add("Allows", text)
	}
	given := false
	for i := range bindings {
		if b := &bindings[i]; b.Spec.Role == r.Name {
			given = true
			f.add("Given to", subjectsText(b.Spec.Subjects)+", in "+cmp.Or(strings.Join(b.Spec.Namespaces, ", "), "all namespaces")+" (rolebinding "+b.Name+")")
		}
	}
	if !given {
		f.add("Given to", "nobody")
	}
	if !r.BuiltIn {
		f.add("Created", ro.stamp(r.CreatedAt))
		f.add("Updated", ro.stamp(r.UpdatedAt))
	}
	f.flush()
}

func (ro roleVerbs) deleteRolesCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "role NAME...", Aliases: []string{"roles", "Role"}, Args: someOf("role"),
		Short:   "Delete roles that no binding gives",
		Example: "  carillon delete role deployer",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ro.deleteClusterWide(cmd, job.KindRole, args, *yes)
		},
	}
}

func (ro roleVerbs) deleteRoleBindingsCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "rolebinding NAME...", Aliases: roleBindingAliases("rolebindings"), Args: someOf("role binding"),
		Short:   "Take roles away from those whom bindings give them",
		Example: "  carillon delete rolebinding billing-team",
		RunE: func(cmd *cobra.Command, args []string) error {
			return ro.deleteClusterWide(cmd, job.KindRoleBinding, args, *yes)
		},
	}
}

// deleteClusterWide deletes things by name that are in no namespace.
func (ro roleVerbs) deleteClusterWide(cmd *cobra.Command, kind string, names []string, yes bool) error {
	things := make([]thing, len(names))
	for i, name := range names {
		things[i] = thing{kind, job.Key{Namespace: job.DefaultNamespace, Name: name}}
	}
	return manifestVerbs(ro).deleteAll(cmd, things, yes)
}
