package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

// scriptVerbs are the verbs of scripts.
type scriptVerbs struct{ *call }

// findScript returns the script that is named on the command line.
func (sv scriptVerbs) findScript(ctx context.Context, name string) (api.ScriptDetail, error) {
	plain, _, _ := strings.Cut(name, "@")
	key, err := sv.keyOf("script", plain)
	if err != nil {
		return api.ScriptDetail{}, err
	}
	ref, err := job.ParseScriptRef(name, key.Namespace)
	if err != nil {
		return api.ScriptDetail{}, usagef("script %q: %v", name, err)
	}
	return sv.client.Scripts.Get(ctx, ref)
}

func (sv scriptVerbs) getScriptsCommand() *cobra.Command {
	var category string
	cmd := &cobra.Command{
		Use: "scripts [NAME[@VERSION]...]", Aliases: []string{"script"},
		Short: "List the library's scripts, or show one",
		Long: "List the newest versions of the library's scripts, or show one, in any version.\n" +
			"With -o yaml they are printed as manifests that `carillon apply` takes back.",
		Example: "  carillon get scripts --category disk\n  carillon get script cleanup -o yaml\n  carillon get script cleanup@3 -o yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return printNamed(&sv.printer, args, sv.scriptTable(), func(name string) (job.SavedScript, error) {
					v, err := sv.findScript(cmd.Context(), name)
					return v.SavedScript, err
				})
			}
			all, err := sv.client.Scripts.List(cmd.Context(), sv.namespace)
			if err != nil {
				return err
			}
			if category != "" {
				all = slices.DeleteFunc(all, func(s job.SavedScript) bool { return s.Spec.Category != category })
			}
			return printList(&sv.printer, all, sv.scriptTable())
		},
	}
	cmd.Flags().StringVar(&category, "category", "", "only scripts of the category `WORD`")
	return cmd
}

func (sv scriptVerbs) scriptTable() table[job.SavedScript] {
	type script = job.SavedScript
	return table[script]{
		none: "no scripts; create one with `carillon apply -f FILE`",
		name: func(s script) string { return s.Key().String() },
		manifest: func(s script) any {
			return manifestOf[job.ScriptSpec]{job.APIVersion, job.KindScript, s.Metadata, s.Spec}
		},
		columns: []column[script]{
			{head: "NAME", cell: func(s script) string { return s.Name }},
			{head: "VERSION", cell: func(s script) string { return strconv.Itoa(s.Version) }},
			{head: "CATEGORY", cell: func(s script) string { return orDash(s.Spec.Category) }},
			{head: "PARAMS", cell: func(s script) string { return orDash(paramWords(s.Spec.Params)) }},
			{head: "UPDATED", cell: func(s script) string { return sv.stamp(s.CreatedAt) }},
			{head: "DESCRIPTION", cell: func(s script) string { return s.Spec.Description }},
		},
	}
}

// paramWords names parameters; those that have to be given are marked.
func paramWords(params []job.Param) string {
	words := make([]string, len(params))
	for i := range params {
		words[i] = params[i].Name
		if params[i].Required {
			words[i] += "*"
		}
	}
	return strings.Join(words, ",")
}

func (sv scriptVerbs) describeScriptCommand() *cobra.Command {
	return &cobra.Command{
		Use: "script NAME[@VERSION]", Aliases: []string{"scripts"}, Args: exactlyOne("name"),
		Short:   "Show what a script takes, its versions, and which jobs use it",
		Example: "  carillon describe script cleanup",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := sv.findScript(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return sv.describe(v, v.Key().String(), func() error { sv.scriptText(&v); return nil })
		},
	}
}

func (sv scriptVerbs) scriptText(v *api.ScriptDetail) {
	s := &v.Spec
	f := newFields(sv.out, "")
	f.add("Script", v.Key().String())
	f.add("Version", strconv.Itoa(v.Version))
	f.add("SHA-256", v.SHA256)
	f.add("Category", s.Category)
	f.add("Description", s.Description)
	f.add("Interpreter", orText(strings.Join(s.Interpreter, " "), "/bin/sh"))
	f.add("Arguments", strings.Join(s.Args, " "))
	f.add("Environment", pairs(s.Env))
	f.add("User", s.User)
	if s.Timeout > 0 {
		f.add("Timeout", time.Duration(s.Timeout).String())
	}
	for i := range v.Bounds {
		f.add("Within", withinText(&v.Bounds[i]))
	}
	f.add("Labels", pairs(v.Labels))
	for i := range s.Params {
		d := &s.Params[i]
		f.add("Param "+d.Name, paramText(d))
	}
	for _, old := range v.Versions {
		f.add(fmt.Sprintf("Version %d", old.Version), fmt.Sprintf("%s  %.12s", sv.stamp(old.CreatedAt), old.SHA256))
	}
	for _, u := range v.Jobs {
		which := "the newest version"
		if u.Version > 0 {
			which = fmt.Sprintf("version %d", u.Version)
		}
		f.add("Used by", fmt.Sprintf("job %s (%s)", u.Job, which))
	}
	f.flush()
	fmt.Fprintln(sv.out, "\nText:")
	printText(sv.out, "  ", s.Source)
}

// paramText tells in a line what a parameter is.
func paramText(d *job.Param) string {
	words := []string{string(d.EffectiveType())}
	add := func(text string, given bool) {
		if given {
			words = append(words, text)
		}
	}
	add("required", d.Required)
	add("sensitive", d.Sensitive)
	add(fmt.Sprintf("default %q", d.Default), d.Default != "")
	add("one of "+strings.Join(d.Values, ", "), len(d.Values) > 0)
	add("at least "+d.Min, d.Min != "")
	add("at most "+d.Max, d.Max != "")
	add(fmt.Sprintf("at most %d characters", d.MaxLength), d.MaxLength > 0)
	add("matching "+d.Pattern, d.Pattern != "")
	text := strings.Join(words, ", ")
	if d.Description != "" {
		text += ": " + d.Description
	}
	return text
}

func (sv scriptVerbs) deleteScriptsCommand(yes *bool) *cobra.Command {
	return &cobra.Command{
		Use: "script NAME...", Aliases: []string{"scripts"}, Args: someOf("script"),
		Short:   "Delete scripts that no job names, with all their versions",
		Example: "  carillon delete script cleanup",
		RunE: func(cmd *cobra.Command, args []string) error {
			return manifestVerbs(sv).deleteNamed(cmd, job.KindScript, args, *yes)
		},
	}
}
