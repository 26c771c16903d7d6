// Package configs holds the settings of a scheduler node: their defaults, how
// they are read and how they are checked. Only commands and internal/app read
// it; packages take their own Config. The worker's few settings are flags and
// variables only, in internal/app/minion.
//
// Settings come, the later winning, from the defaults, a YAML file (--config),
// the environment (CARILLON_ and the path in capitals, with _ for a dot and
// before a capital: CARILLON_ETCD_ENDPOINTS, CARILLON_LOOK_AHEAD) and flags.
// What is not known is an error. All problems are told at once, each with where
// the setting was read.
package configs
