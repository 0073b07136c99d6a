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
    path 'figures/*', emit: figures
    path '*.provenance.json', emit: provenance

    script:
    """
    figures.py ${flags} --raw ${raw} --preprocessed ${preprocessed} --aligned ${aligned} --labels ${labels} --alignment ${alignment} --tables tables --output figures
    """

    stub:
    """
    stub.sh figures/figure1_overview.png figures/figure1_overview.pdf figures/figure2_synapses.png figures/figure2_synapses.pdf figures/figure3_graph.png figures/figure3_graph.pdf figures/figure4_alignment.png figures/figure4_alignment.pdf figures.provenance.json
    """
}
