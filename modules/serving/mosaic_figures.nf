process MOSAIC_FIGURES {
    label 'process_medium'

    input:
    tuple path(volume), path(volume_manifest)
    path mosaic
    path(tables, stageAs: 'tables/*')
    val flags

    output:
    path 'published/figures/*', emit: figures
    path '*.provenance.json', emit: provenance, topic: 'records'

    script:
    """
    mosaic_figures.py ${flags} --volume ${volume} --mosaic ${mosaic} --tables tables --output published/figures
    """

    stub:
    """
    stub.sh published/figures/tile_layout.png published/figures/tile_layout.pdf mosaic_figures.provenance.json
    """
}
