// Package watches tests watches from end to end: the official clients, whole clusters, and nodes that die.
package watches
