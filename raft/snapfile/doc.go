// Package snapfile is the file of a snapshot, and the folder that a node has it in: one that is received is written chunk by chunk,
// goes on after a restart, gets the name of a whole one once it is whole and durable, and is checked whenever it is read.
//
// It decides nothing: which transfer counts, what a snapshot becomes and when it goes is the node's. It gives nothing away that it has
// not checked (D1), and it never deletes what is damaged by itself (D4).
package snapfile
