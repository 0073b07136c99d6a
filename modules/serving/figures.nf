process FIGURES {
    label 'process_medium'

    input:
    tuple path(raw), path(raw_manifest)
    tuple path(preprocessed), path(preprocessed_manifest)
    tuple path(aligned), path(aligned_manifest)
    tuple path(labels), path(labels_manifest)
    path alignment
    path(tables, stageAs: 'tables/*')
    val flags

    output:
    path 'published/figures/*', emit: figures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    figures.py ${flags} --raw ${raw} --preprocessed ${preprocessed} --aligned ${aligned} --labels ${labels} --alignment ${alignment} --tables tables --output published/figures
    """

    stub:
    """
    stub.sh published/figures/figure1_overview.png published/figures/figure1_overview.pdf published/figures/figure2_synapses.png published/figures/figure2_synapses.pdf published/figures/figure3_graph.png published/figures/figure3_graph.pdf published/figures/figure4_alignment.png published/figures/figure4_alignment.pdf published/figures/figure5_matrix.png published/figures/figure5_matrix.pdf figures.provenance.json
    """
}
