process GRAPH {
    label 'process_single'

    input:
    path(candidates, stageAs: 'candidates?.parquet')
    tuple path(labels), path(labels_manifest)
    val flags

    output:
    path 'tables/*', emit: tables
    path 'graph/wiring.graphml', emit: graphml
    path 'graph/edges.txt', emit: edge_list
    path '*.provenance.json', emit: provenance

    script:
    """
    graph.py ${flags} --candidates candidates*.parquet --labels ${labels} --tables tables --graph graph \\
        --memory_mb ${task.memory?.toMega() ?: 1024}
    """

    stub:
    """
    stub.sh tables/frame.json tables/synapses.csv tables/edges.csv tables/nodes.csv tables/synapses.parquet tables/edges.parquet tables/nodes.parquet graph/wiring.graphml graph/edges.txt graph.provenance.json
    """
}
