package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/job"
)

// scope is the namespace in which names are meant.
type scope struct {
	namespace string
}

// key reads a job's name as NAME or NAMESPACE/NAME.
func (s *scope) key(name string) (job.Key, error) { return s.keyOf("job", name) }

// keyOf reads the name of a job or a group as NAME or NAMESPACE/NAME.
func (s *scope) keyOf(kind, name string) (job.Key, error) {
	if !strings.Contains(name, "/") {
		name = s.namespace + "/" + name
	}
	k, err := job.ParseKey(name)
	if err != nil {
		return job.Key{}, usagef("%s %w", kind, err)
	}
	return k, nil
}

// allNamespaces adds -A to a verb that lists.
func (s *scope) allNamespaces(cmd *cobra.Command, all *bool) {
	cmd.Flags().BoolVarP(all, "all-namespaces", "A", false, "in all namespaces")
}

// listed returns the namespace to list; "" stands for all.
func (s *scope) listed(all bool) string {
	if all {
		return ""
	}
	return s.namespace
}

// where says where nothing was found.
func (s *scope) where(all bool) string {
	if all {
		return "in any namespace"
	}
	return fmt.Sprintf("in namespace %q", s.namespace)
}
