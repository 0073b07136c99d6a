process GRAPH {
    label 'process_single'

    input:
    path(candidates, stageAs: 'candidates?.parquet')
    tuple path(labels), path(labels_manifest)
    val flags

    output:
    path 'published/tables/*', emit: tables
    path 'published/graph/wiring.graphml', emit: graphml
    path 'published/graph/edges.txt', emit: edge_list
    path 'published/graph/neuprint/*.csv', emit: neuprint, optional: true
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    graph.py ${flags} --candidates candidates*.parquet --labels ${labels} --tables published/tables --graph published/graph \\
        --memory_mb ${task.memory?.toMega() ?: 1024}
    """

    stub:
    """
    stub.sh published/tables/frame.json published/tables/synapses.csv published/tables/edges.csv published/tables/nodes.csv published/tables/motifs.csv published/tables/synapses.parquet published/tables/edges.parquet published/tables/nodes.parquet published/tables/motifs.parquet published/graph/wiring.graphml published/graph/edges.txt graph.provenance.json
    """
}
